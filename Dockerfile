# Both programs, fully static; `make images` builds them and this. Nothing else is in the image.
FROM scratch
COPY countersign-operator countersign-sidecar /
USER 65532:65532
