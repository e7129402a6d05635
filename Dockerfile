# cdc-oncall in a container: docker run -p 8080:8080 -v ./cdc.yml:/etc/cdc-oncall/cdc.yml:ro -v cdc:/var/lib/cdc-oncall ...
# In cdc.yml write `listen: 0.0.0.0:8080` and `state: /var/lib/cdc-oncall/cdc-oncall.db`.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
# What the locks say and nothing else, checked by hash; wheels only, so that no package runs code while it is installed.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.lock && \
    python -m venv /opt/cdc-oncall && \
    /opt/cdc-oncall/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE manifest.yml ./
COPY runbooks runbooks
COPY bot bot
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /opt/build/dist . && \
    /opt/cdc-oncall/bin/pip install --no-cache-dir --no-deps /opt/build/dist/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /var/lib/cdc-oncall --shell /usr/sbin/nologin cdc-oncall
COPY --from=build /opt/cdc-oncall /opt/cdc-oncall
ENV PATH=/opt/cdc-oncall/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CDC_CONFIG=/etc/cdc-oncall/cdc.yml
USER 10001
WORKDIR /var/lib/cdc-oncall
VOLUME /var/lib/cdc-oncall
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["cdc"]
CMD ["serve"]
