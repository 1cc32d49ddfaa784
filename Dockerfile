# One image for the shim, the worker, Flower and the migration; the command decides which.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# What changes rarely first: the layers below stay cached until a lock changes.
COPY requirements/build.lock requirements/run.lock requirements/
RUN python -m venv /opt/bksi \
 && /opt/bksi/bin/pip install --require-hashes --only-binary :all: -r requirements/run.lock \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY plumbing plumbing
COPY contract contract
COPY api_shim api_shim
COPY worker worker
COPY reader reader
COPY devstack devstack
COPY clients/python clients/python
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist ./clients/python . \
 && /opt/bksi/bin/pip install --no-deps --no-index /dist/*.whl \
 && /opt/bksi/bin/pip check \
 && /opt/bksi/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
# An entry for the user, or libraries that look it up take it for a superuser's; its state is kept where a volume may be.
# The standard library comes without byte code, which every start and every health check would make anew.
RUN groupadd --gid 10001 bksi \
 && useradd --uid 10001 --gid bksi --home-dir /tmp --no-create-home --shell /usr/sbin/nologin bksi \
 && install --directory --owner bksi --group bksi /var/lib/bksi \
 && python -m compileall -q -x '/(test|tests|idlelib|lib2to3)/' "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/bksi /opt/bksi
# Nothing is written outside /tmp: the root file system may be read-only.
ENV PATH=/opt/bksi/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["bksi"]
CMD ["serve"]
