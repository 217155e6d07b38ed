#!/usr/bin/env bash
# Install the real peers that the tests talk to, from Debian's packages.
# As root on Debian or Ubuntu it installs what is missing; elsewhere it says what is missing and lets the tests skip,
# except where LODESTONE_REQUIRE_PEERS is set: then a missing peer is a failure.
set -euo pipefail

declare -A package_of=(
  [Orthanc]=orthanc
  [storescu]=dcmtk
  [dciodvfy]=dicom3tools
  [pdftoppm]=poppler-utils
)
wanted=()
for program in "${!package_of[@]}"; do
  command -v "$program" >/dev/null 2>&1 || wanted+=("${package_of[$program]}")
done
ls /usr/share/orthanc/plugins/libOrthancDicomWeb.so /usr/lib/*/orthanc/libOrthancDicomWeb.so >/dev/null 2>&1 \
  || dpkg -s orthanc-dicomweb >/dev/null 2>&1 || wanted+=(orthanc-dicomweb)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || wanted+=(postgresql)

if [ ${#wanted[@]} -eq 0 ]; then
  echo "peers: all installed"
  exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  export DEBIAN_FRONTEND=noninteractive
  # Debian starts a server when it installs one; the tests start their own, on free ports.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${wanted[@]}" >/dev/null
  echo "peers: installed ${wanted[*]}"
  exit 0
fi
echo "peers: missing ${wanted[*]}. As root on Debian or Ubuntu, run: make peers" >&2
if [ -n "${LODESTONE_REQUIRE_PEERS:-}" ]; then exit 1; fi
