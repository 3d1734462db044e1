# The worker in a container: docs/container.md says how to build, run and trust it, `make container-test` does all three.
# Any image with Python 3.11 or later, its `venv` module and glibc may be the base; tools run on that Python.
ARG BASE=python:3.13.9-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/runtime.txt requirements/build.txt requirements/
# The two secrets are for builders behind a mirror or a proxy: pip's configuration and its certificates, if there are
# any. They are mounted while the line runs, and are part of no layer. Nothing is installed but by its hash.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates,target=/run/certificates.pem \
    python3 -m venv /opt/build && python3 -m venv --without-pip /opt/stepflow \
    && /opt/build/bin/pip install --quiet --no-cache-dir --require-hashes --only-binary :all: -r requirements/build.txt \
    && /opt/build/bin/pip --python /opt/stepflow/bin/python install --quiet --no-cache-dir --require-hashes \
        --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY stepflow_python stepflow_python
COPY migrations migrations
COPY fixtures fixtures
RUN /opt/build/bin/pip wheel --quiet --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/build/bin/pip --python /opt/stepflow/bin/python install --quiet --no-cache-dir --no-index --no-deps dist/*.whl

FROM ${BASE}
# Named by number, so that Kubernetes can tell that it is not root.
RUN groupadd --gid 10001 stepflow \
    && useradd --uid 10001 --gid stepflow --home-dir /var/lib/stepflow --no-log-init --shell /usr/sbin/nologin stepflow \
    && install --directory --owner stepflow --group stepflow --mode 700 /var/lib/stepflow
COPY --from=build /opt/stepflow /opt/stepflow
ENV PATH=/opt/stepflow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HEALTH_PORT=8080 \
    STEPFLOW_PYTHON_HOME=/var/lib/stepflow
USER 10001:10001
WORKDIR /var/lib/stepflow
VOLUME /var/lib/stepflow
EXPOSE 8080
# Whether it lives, not whether it is ready: who restarts what is unhealthy must not do so because a broker is away.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"HEALTH_PORT\"]}/live', timeout=5)"]
ENTRYPOINT ["stepflow"]
CMD ["worker", "--health-port", "8080"]
