#!/usr/bin/env bash
# Makes the root file system that the containers boot, of the same release as this machine (so that programs built here
# run in it): root_fs.sh DIRECTORY. Made once: DIRECTORY.key tells what stands there, and a change of it makes it anew.
set -euo pipefail
root=$1
. /etc/os-release

# rpm: packages for the other family are tried here, too.
debian=systemd,systemd-sysv,dbus,libpam-systemd,procps,iproute2,passwd,mount,rpm,openssh-server,openssh-client,sudo,samba,samba-vfs-modules,smbclient,acl${PACKAGES:-}
fedora="systemd dbus-daemon procps-ng iproute shadow-utils util-linux coreutils openssh-server openssh-clients sudo samba samba-client acl"
key="3 $ID ${VERSION_ID:-} ${VERSION_CODENAME:-} $debian $fedora"
[ -d "$root" ] && [ "$(cat "$root.key" 2>/dev/null)" = "$key" ] && exit 0

echo "making a root file system of $PRETTY_NAME (once, about half a minute)"
rm -rf "$root" "$root.key" "$root.new"

# The archives of this machine's own release; other archives it may use have nothing that is needed.
own_sources() {
    apt-get indextargets --format '$(ORIGIN) deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' \
        | awk -v id="$ID" -v suite="$VERSION_CODENAME" 'tolower($1) == id && index($4, suite) == 1 { $1 = ""; print }' | sort -u
}

if command -v apt-get >/dev/null; then
    sources="$root.list"
    own_sources > "$sources"
    # An image without package lists does not know the origin of its archives yet.
    [ -s "$sources" ] || { apt-get update -q; own_sources > "$sources"; }
    [ -s "$sources" ] || { echo "apt knows no archive of $ID $VERSION_CODENAME" >&2; exit 1; }
    mmdebstrap --quiet --variant=minbase --mode=root --include="$debian" --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --aptopt='Acquire::Languages "none"' \
        "$VERSION_CODENAME" "$root.new" "$sources" </dev/null
else
    host_config=()
    if dnf --version 2>/dev/null | grep -q dnf5; then host_config=(--use-host-config); fi
    # shellcheck disable=SC2086
    dnf -y -q "${host_config[@]}" --installroot="$root.new" --releasever="$VERSION_ID" --setopt=install_weak_deps=False \
        --setopt=tsflags=nodocs install $fedora </dev/null
fi
# Only the tests of logins and shares want them.
for unit in 'ssh*' smb smbd nmb nmbd winbind samba-ad-dc; do
    # shellcheck disable=SC2086
    rm -f "$root.new"/etc/systemd/system/multi-user.target.wants/$unit.service
done
rm -f "$root.new"/etc/systemd/system/{sshd,smb,nmb}.service
mv "$root.new" "$root"
echo "$key" > "$root.key"
