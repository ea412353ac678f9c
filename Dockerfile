# The parts are installed in a separate stage, so that pip and its cache stay behind.
# The base image is named by its tag, which gets Debian's and Python's security fixes; whoever builds
# for themselves and wants the same bytes each time adds the digest that their registry answers.
FROM python:3.13-slim-bookworm AS parts
COPY requirements/run.txt /tmp/run.txt
RUN python -m venv --without-pip /opt/songwright \
 && pip --python /opt/songwright install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r /tmp/run.txt \
 && /opt/songwright/bin/python -m compileall -q /opt/songwright/lib

FROM python:3.13-slim-bookworm
# The numbers stand for the user in a volume's files: they must not change between versions.
RUN groupadd --gid 10001 songwright \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data songwright \
 && install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=parts /opt/songwright /opt/songwright
WORKDIR /app
COPY LICENSE bot.py ./
COPY commands commands
COPY cogs cogs
COPY services services
COPY db db
RUN /opt/songwright/bin/python -m compileall -q /app

ENV PATH=/opt/songwright/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATABASE_URL=sqlite:////data/songs.db \
    DATA_DIR=/data
USER 10001:10001
VOLUME /data
# A beat comes every 15 s and counts for 60.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "bot.py", "health"]
STOPSIGNAL SIGTERM
# As a list, not a line for a shell: the bot is process 1, and SIGTERM reaches it.
CMD ["python", "bot.py", "run"]
