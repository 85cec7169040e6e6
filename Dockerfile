# backbench on a processor: docker build -t backbench . && docker run --rm -v "$PWD:/work" backbench run
FROM python:3.12-slim

COPY requirements.lock /tmp/
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.lock

COPY . /opt/backbench
RUN pip install --no-cache-dir --no-deps /opt/backbench \
    && useradd --create-home --uid 1000 bench

USER 1000
WORKDIR /work
ENTRYPOINT ["backbench"]
CMD ["--help"]
