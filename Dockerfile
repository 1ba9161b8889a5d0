# The gate and nothing else: one static binary in an empty image, run by an unprivileged user.
#   docker build -t scopegate .
# The cache mounts need BuildKit (Docker 23 and later), Buildah or Podman.

FROM docker.io/library/rust:1.95.0-bookworm AS build
WORKDIR /build
# Static, so that the last stage can be empty. Debian 12's glibc carries its readers of /etc/hosts and of DNS in itself, so
# names resolve without a library beside the binary; `deploy/check` shows that.
ENV RUSTFLAGS="-C target-feature=+crt-static"
COPY Cargo.toml Cargo.lock build.rs ./
COPY config/catalogs config/catalogs
COPY src src
# Not built, but the manifest names them.
COPY benches benches
# Crates and what was built of them stay in the caches, so a change of the gate's own code builds that alone. With
# `--target` the flags are for the binary, and not for what runs while it is built.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --locked --release --bin scopegate --target "$(rustc --print host-tuple)" \
    && install -D -m 0555 "target/$(rustc --print host-tuple)/release/scopegate" /out/scopegate \
    && strip --strip-debug /out/scopegate

FROM scratch
LABEL org.opencontainers.image.title="scopegate" \
      org.opencontainers.image.description="An authorizing reverse proxy: takes one scope from one app in one container, after the install" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/scopegate /scopegate
# config/scopegate.yaml, where every command looks, is /etc/scopegate/config/scopegate.yaml. Roots of trust are compiled in.
WORKDIR /etc/scopegate
USER 65532:65532
EXPOSE 8080 9902
# There is no shell here, so nothing but the exec form would run. Kubernetes does not read it: its probes ask by HTTP.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 CMD ["/scopegate", "health"]
ENTRYPOINT ["/scopegate"]
CMD ["serve"]
