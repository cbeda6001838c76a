#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs a test program in a chroot whose root is no mount point, as Debian's builders do:
# once with /dev of the machine, once with a plain folder that has nothing mounted.
#   in_a_chroot.sh PROGRAM [ARGUMENT...]
# 77 (skipped) where chroot and mounts are not allowed.
set -euo pipefail
if [ "${1:-}" != --inside ]; then
  unshare --mount --propagation private true 2>/dev/null ||
    { echo "may not have mounts of its own"; exit 77; }
  root=$(mktemp -d)
  code=0
  # The mounts end with the namespace, so that only empty folders are left to remove.
  unshare --mount --propagation private "$0" --inside "$root" "$@" || code=$?
  rm -rf --one-file-system "$root"
  exit $code
fi

root=$2
program=$(realpath "$3")
shift 3
libraries=$(dirname "$(dirname "$program")")  # the program's library is in the build folder
for dev in machine plain; do
  tree=$root/$dev
  mkdir "$tree"
  for folder in /usr /bin /lib /lib64 /etc "$libraries"; do
    [ -d "$folder" ] || continue
    mkdir -p "$tree$folder"
    mount --bind "$folder" "$tree$folder"
  done
  mkdir -p "$tree/proc" "$tree/sys" "$tree/dev" "$tree/tmp"
  mount --rbind /proc "$tree/proc"
  mount --rbind /sys "$tree/sys"
  if [ $dev = machine ]; then
    mount --rbind /dev "$tree/dev"
    mount --make-rshared "$tree/dev"
  else
    mkdir -m 1777 "$tree/dev/shm"
    for device in null:3 zero:5 urandom:9; do mknod -m 666 "$tree/dev/${device%:*}" c 1 "${device#*:}"; done
  fi
  if mountpoint -q "$tree"; then echo "the root should be no mount point" >&2; exit 1; fi
  chroot "$tree" "$program" "$@"
  if [ -n "$(find "$tree/dev/shm" -name 'eshm_*' -newer "$tree" -print -quit)" ] && [ $dev = plain ]; then
    echo "something was left in /dev/shm" >&2
    exit 1
  fi
done
