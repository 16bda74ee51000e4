FROM node:24.21.0-bookworm-slim AS build
WORKDIR /src
RUN npm install --global bun@1.4.5
COPY package.json bun.lock bunfig.toml ./
RUN bun install --frozen-lockfile --production
COPY tsconfig.json ./
COPY drizzle drizzle
COPY src src
# What `portcullis version` says; git can't be asked here. docs/docker.md has the command.
ARG PORTCULLIS_COMMIT=
ARG SOURCE_DATE_EPOCH=
RUN bun src/release/build.ts
# The image is the executable and the C library that it asks for, from the Debian that this stage stands on.
RUN mkdir --parents /image/usr/local/bin /data \
  && cp dist/portcullis /image/usr/local/bin/ \
  && cp --parents $(ldd dist/portcullis | grep --only-matching '/[^ ]*') /image/

FROM scratch
LABEL org.opencontainers.image.title="Portcullis" \
  org.opencontainers.image.description="A kill switch for AI agents' access" \
  org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
COPY --from=build --chown=10001:10001 /data /data
ENV PATH=/usr/local/bin \
  PORTCULLIS_DATA=/data \
  PORTCULLIS_LISTEN=0.0.0.0:7070 \
  PORTCULLIS_CONSOLE=0.0.0.0:7071
EXPOSE 7070 7071
VOLUME ["/data"]
USER 10001:10001
# A new version may have to bring a large database up to date before it answers: a minute on an SD card.
HEALTHCHECK --interval=30s --timeout=6s --start-period=120s --retries=3 CMD ["portcullis", "healthcheck"]
ENTRYPOINT ["portcullis"]
CMD ["serve"]
