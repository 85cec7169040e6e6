"""A poisoned dataset as image files and lists, for whatever trains elsewhere.

``request`` reads what is asked for, from a file of ours or (``published``) one of the published
configuration files; ``plan`` chooses the images and says what is wrong before anything is
written; ``layout`` names the files; ``writing`` makes them, each by ``worker`` on all cores, and
continues where it was interrupted.
"""
