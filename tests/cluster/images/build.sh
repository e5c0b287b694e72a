# build FOLDER ARCHIVE IMAGE: builds FOLDER/Dockerfile into a docker archive. Sourced by the others.
build() {
    local folder=$1 archive=$2 image=$3 storage
    storage=$(mktemp -d)
    rm -f "$archive.part"
    buildah --root "$storage/root" --runroot "$storage/run" --storage-driver vfs \
        bud --quiet --isolation chroot --tag "$image" "$folder" >/dev/null
    buildah --root "$storage/root" --runroot "$storage/run" --storage-driver vfs \
        push --quiet "$image" "docker-archive:$archive.part:$image" >/dev/null
    rm -rf "$storage"
    mv "$archive.part" "$archive"
}
