#!/usr/bin/env bash
# Install the real peers that the tests talk to, from Debian's packages, and the viewer OHIF from its npm package.
# As root on Debian or Ubuntu it installs what is missing; elsewhere it says what is missing and lets the tests skip,
# except where LODESTONE_REQUIRE_PEERS is set: then a missing peer is a failure.
set -euo pipefail

peers=$(cd "$(dirname "$0")" && pwd)
ohif_version=3.13.2
ohif_sha512=WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==

declare -A package_of=(
  [Orthanc]=orthanc
  [storescu]=dcmtk
  [dciodvfy]=dicom3tools
  [openssl]=openssl
  [pdftoppm]=poppler-utils
  [gdcmdump]=libgdcm-tools
  [dcm2niix]=dcm2niix
  [ojph_compress]=openjph-tools
  [chromium]=chromium
  [chromedriver]=chromium-driver
  [java]=default-jre-headless
  [npm]=npm
  [bart]=bart
)

missing_packages() {
  local program
  for program in "${!package_of[@]}"; do
    command -v "$program" >/dev/null 2>&1 || [ -x "/usr/sbin/$program" ] || echo "${package_of[$program]}"
  done
  ls /usr/share/orthanc/plugins/libOrthancDicomWeb.so /usr/lib/*/orthanc/libOrthancDicomWeb.so >/dev/null 2>&1 \
    || dpkg -s orthanc-dicomweb >/dev/null 2>&1 || echo orthanc-dicomweb
  [ -e /usr/share/orthanc/plugins/libOrthancWebViewer.so ] || echo orthanc-webviewer
  [ -e /usr/share/java/pixelmed.jar ] || echo libpixelmed-java
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || echo postgresql
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  # Debian starts a server when it installs one; the tests start their own, on free ports.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >/dev/null
  echo "peers: installed $*"
}

ohif_is_there() {
  [ "$(cat "$peers/ohif/version" 2>/dev/null)" = "$ohif_version" ]
}

# The package ships the viewer ready built; it is unpacked beside its final place and moved there when it is whole.
install_ohif() {
  command -v npm >/dev/null 2>&1 || return 1
  local unpacked digest
  unpacked=$(mktemp -d "$peers/.ohif.XXXXXX")
  (cd "$unpacked" && npm pack "@ohif/app@$ohif_version" --silent >/dev/null 2>&1) || { rm -rf "$unpacked"; return 1; }
  digest=$(openssl dgst -sha512 -binary "$unpacked"/*.tgz | base64 -w 0)
  if [ "$digest" != "$ohif_sha512" ]; then
    rm -rf "$unpacked"
    echo "peers: the npm package @ohif/app $ohif_version is not the one these tests were written for" >&2
    return 1
  fi
  # Left out: what segments by neural networks in the browser (136 MB), and the maps for debuggers.
  tar -xzf "$unpacked"/*.tgz -C "$unpacked" --exclude="package/dist/ort" --exclude="*.map" package/dist package/LICENSE
  echo "$ohif_version" >"$unpacked/package/version"
  rm -rf "$peers/ohif"
  mv "$unpacked/package" "$peers/ohif"
  rm -rf "$unpacked"
  echo "peers: unpacked OHIF $ohif_version"
}

mapfile -t wanted < <(missing_packages)
if [ ${#wanted[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  install_packages "${wanted[@]}"
  mapfile -t wanted < <(missing_packages)
fi
ohif_is_there || install_ohif || wanted+=("OHIF (npm package @ohif/app $ohif_version)")

if [ ${#wanted[@]} -eq 0 ]; then
  echo "peers: all installed"
  exit 0
fi
printf 'peers: missing %s\n' "${wanted[@]}" >&2
echo "peers: as root on Debian or Ubuntu, with npm able to fetch packages, run: make peers" >&2
if [ -n "${LODESTONE_REQUIRE_PEERS:-}" ]; then exit 1; fi
