/**
 * Run by /bin/sh inside fresh mount, PID and IPC namespaces (and a user namespace for an ordinary user). It builds a root of
 * its own from an allow-list, moves into it, and becomes the program, without a capability. Words are passed, never
 * interpolated: `kind source target` triples up to `--`, then uid, then the program.
 * Kinds: `ro`, `rw`, `link` (source is the link's text), `dev`.
 */
export const jailScript = String.raw`
set -eu
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin
root=$1; shift
mount -t tmpfs -o mode=0755,size=4m,nosuid,nodev tmpfs "$root"
mkdir -p "$root/tmp" "$root/dev" "$root/.old"
while [ "$1" != -- ]; do
  kind=$1 source=$2 target=$root$3; shift 3
  mkdir -p "$(dirname "$target")"
  case $kind in
    link) ln -s "$source" "$target"; continue ;;
  esac
  if [ -d "$source" ]; then mkdir -p "$target"; else : > "$target"; fi
  mount --bind "$source" "$target"
  case $kind in
    ro)
      # A bind keeps the flags of the mount below it; in a user namespace they may not be dropped, so they are tried in turn.
      mount -o remount,bind,ro,nosuid,nodev "$target" 2>/dev/null ||
        mount -o remount,bind,ro,nosuid,nodev,noatime "$target" 2>/dev/null ||
        mount -o remount,bind,ro,nosuid,nodev,noexec "$target" 2>/dev/null ||
        mount -o remount,bind,ro,nosuid,nodev,relatime "$target" ;;
    rw) mount -o remount,bind,rw,nosuid,nodev "$target" ;;
  esac
done
shift
uid=$1; shift
mount -o remount,bind,ro,nosuid,nodev "$root"
cd "$root"
pivot_root . .old
# The old root is covered for good: umount(8) needs /proc, which is left out; without a capability nothing uncovers it.
mount -i -n -t tmpfs -o ro,mode=0000,size=4k,nosuid,nodev,noexec tmpfs /.old
cd /
if [ "$uid" = - ]; then
  exec setpriv --inh-caps=-all --bounding-set=-all --no-new-privs --pdeathsig KILL -- "$@"
fi
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs --pdeathsig KILL -- "$@"
`;
