# The recording proxy: docker build -t tarx-toollog . && docker run -p 127.0.0.1:11450:11450 tarx-toollog
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY migrations ./migrations
RUN pip install --no-cache-dir '.[postgres]' && rm -rf /src \
    && useradd --create-home --uid 10001 toollog \
    && install --directory --owner=toollog --group=toollog --mode=0700 /data

USER toollog
WORKDIR /data
VOLUME /data
# Inside a container the proxy has to listen on all addresses, so clients need a token; publish the port on 127.0.0.1
# only, since what goes over it is not encrypted.
ENV TOOLLOG_DATABASE=/data/toollog.db TOOLLOG_HOST=0.0.0.0
EXPOSE 11450
ENTRYPOINT ["toollog"]
CMD ["serve"]
