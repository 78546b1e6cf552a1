# One image for every role: `docker run holdfast ROLE`, as `holdfast ROLE` anywhere else.
# It needs no root and writes to DATA_DIR alone, so its root file system may be read-only.

FROM python:3.12-slim-bookworm AS builder

# Only wheels, each checked by its hash: nothing is compiled.
COPY requirements/runtime.txt /build/runtime.txt
RUN python -m venv --without-pip /opt/holdfast/venv \
    && pip --python /opt/holdfast/venv/bin/python install --no-cache-dir --only-binary :all: \
       --require-hashes --requirement /build/runtime.txt


FROM python:3.12-slim-bookworm

RUN groupadd --gid 10001 holdfast \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
       --shell /usr/sbin/nologin holdfast \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/holdfast

COPY --from=builder /opt/holdfast/venv /opt/holdfast/venv
COPY docker/entrypoint.py /usr/local/bin/holdfast
COPY docker/healthcheck.py /usr/local/bin/healthcheck
COPY alembic.ini LICENSE /opt/holdfast/
COPY migrations /opt/holdfast/migrations
COPY app /opt/holdfast/app

# Byte code is compiled here, because the file system is read-only later; files are made readable, whatever the umask.
RUN chmod 0755 /usr/local/bin/holdfast /usr/local/bin/healthcheck \
    && chmod -R u=rwX,go=rX /opt/holdfast/app /opt/holdfast/migrations /opt/holdfast/alembic.ini \
    && /opt/holdfast/venv/bin/python -m compileall -q /opt/holdfast/app

ENV PATH=/opt/holdfast/venv/bin:$PATH \
    PYTHONPATH=/opt/holdfast \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/var/lib/holdfast

WORKDIR /opt/holdfast
USER 10001:10001
EXPOSE 8000

# For the API. An unreachable dependency (/readyz) is no reason to replace this process.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["healthcheck", "PORT", "/livez"]

ENTRYPOINT ["holdfast"]
CMD ["api"]
