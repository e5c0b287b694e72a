#!/usr/bin/env bash
# debian-tools-image.sh ARCHIVE IMAGE: Debian's nginx, Redis, curl, openssl, tcpdump and busybox with
# the libraries that they need, and CoreDNS ($COREDNS), which speaks gRPC as server and as client: for
# clients and servers that are not written here.
set -euo pipefail
archive=$1 image=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/root
mkdir -p "$root"/{bin,etc,tmp,usr/bin,usr/sbin,var/log/nginx,var/lib/nginx,run,root} "$folder/nginx"
chmod 1777 "$root/tmp"

# Unpacked, not installed: installing it would start a server on this machine.
# Of what is not installed there is a candidate only where the lists are there.
apt-cache policy redis-tools | grep -q 'Candidate: [^(]' || apt-get update -qq
packages=(nginx libnginx-mod-stream redis-tools libjemalloc2 liblzf1)
(cd "$folder" && apt-get download -qq "${packages[@]}" >/dev/null && for deb in *.deb; do dpkg -x "$deb" nginx; done)
cp "$folder/nginx/usr/sbin/nginx" "$root/usr/sbin/"
mkdir -p "$root/usr/lib/nginx/modules"
cp "$folder"/nginx/usr/lib/nginx/modules/*stream*.so "$root/usr/lib/nginx/modules/"
cp -L "$folder"/nginx/usr/bin/redis-{cli,benchmark} "$root/usr/bin/"
# One program, which is server or checker by its name.
cp -L "$folder/nginx/usr/bin/redis-check-rdb" "$root/usr/bin/redis-server"
cp "$COREDNS" "$root/usr/bin/coredns"
unpacked=$folder/nginx/usr/lib/$(uname -m)-linux-gnu
for program in curl openssl tcpdump; do cp "$(command -v "$program")" "$root/usr/bin/"; done
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
    [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
done

for program in "$root"/usr/sbin/nginx "$root"/usr/bin/*; do
    # It is static, and needs none.
    [[ $program != */coredns ]] || continue
    LD_LIBRARY_PATH=$unpacked ldd "$program" | grep -o '/[^ )]*' | while read -r library; do
        inside=${library#"$folder/nginx"}
        mkdir -p "$root$(dirname "$inside")"
        cp -nL "$library" "$root$inside"
    done
done
mkdir -p "$root/etc/ssl" "$root/usr/lib/ssl"
cp /etc/ssl/openssl.cnf "$root/etc/ssl/"
ln -sf /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"
printf 'root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
printf 'FROM scratch\nCOPY root /\nENV PATH=/usr/sbin:/usr/bin:/sbin:/bin\nCMD ["sh"]\n' >"$folder/Dockerfile"
source "$(dirname "$0")/build.sh"
build "$folder" "$archive" "$image"
