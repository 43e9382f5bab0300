# The image holds three static binaries and nothing else: no shell, no package,
# no user database. scripts/image builds them on the host.
FROM scratch
COPY bin/image/partd bin/image/partctl bin/image/partload /
# A named volume mounted here for the first time takes this owner.
COPY --chown=65532:65532 bin/image/empty /data
USER 65532:65532
ENTRYPOINT ["/partd"]
CMD ["serve"]
