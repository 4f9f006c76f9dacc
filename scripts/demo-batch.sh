#!/bin/sh
# Usage: scripts/demo-batch.sh [--remove]
#
# A whole host in one night, for real: an ESXi host with the free licence on loopback
# with five VMs, two of them Debians, one in partitions, one with a volume group. esxodus
# plans them, with a report for a browser; migrates them in two waves, converts and proves
# them, and puts each domain in its VM's place, in the order of the host's autostart,
# which it takes them out of by SSH; and reports what came of it. Two keep their layout,
# one is blocked, and stays; of one a warning is acknowledged. Everything is under /var/lib/esxodus-demo-batch, on
# a network of its own. What stays is removed by --remove, or by the next run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/.."

home=/var/lib/esxodus-demo-batch
uplink=esxdemo0
names='db web router mail'

# esxodus COMMAND ARG... runs the program, showing what it runs.
esxodus() {
	printf '\n$ esxodus %s\n' "$*" >&2
	bin/esxodus "$@"
}

# vm NAME GUEST FIELDS puts a guest onto the host as a VM with more fields.
vm() {
	renamed_guest "$2" "$1"
	v_text=$(sed '$d' "$work/guests/$1/vm.json")
	printf '%s,\n%s }\n' "$v_text" "$3" >"$work/guests/$1/vm.json"
}

# nic N [FIELDS] is a NIC with a MAC of its own, for a guest that has none.
nic() { printf '"nics": [{ "model": "vmxnet3", "mac": "00:50:56:00:0d:%02d", "macType": "static", "portGroup": "VM Network", "pciSlotNumber": 192%s }]' "$1" "${2-}"; }

# forget takes away what the last run left.
forget() {
	for f_name in $names legacy; do
		if [ -d "$home/state/vms/$f_name" ]; then
			bin/esxodus cutover --back --yes --state "$home/state" --password-file "$home/password" "$f_name" >/dev/null 2>&1 || :
			bin/esxodus rollback --state "$home/state" --password-file "$home/password" "$f_name" >/dev/null 2>&1 || :
		fi
		for f_domain in $(virsh -c qemu:///system list --all --name 2>/dev/null | grep -x "$f_name" || :); do
			if virsh -c qemu:///system domblklist "$f_domain" | grep -q "$home/"; then
				virsh -c qemu:///system destroy "$f_domain" >/dev/null 2>&1 || :
				virsh -c qemu:///system undefine "$f_domain" >/dev/null
			fi
		done
	done
	rm -rf "$home"
	ip link del "$uplink" 2>/dev/null || :
}

cleanup() {
	[ -z "$esxi" ] || kill "$esxi" 2>/dev/null || :
	rm -rf "$work"
}

case ${1-} in
'' | --remove) ;;
*)
	usage
	exit 64
	;;
esac
[ "$(id -u)" = 0 ] || die 'run it as root: it defines domains in qemu:///system'
if [ "${1-}" = --remove ]; then
	forget
	exit 0
fi
begun=$(date +%s)
say 'about 15 minutes without KVM; 10 more on a new machine, for packages, compiling and two Debian guests'
esxi=''
work=$(mktemp -d)
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
"$here/setup.sh" build
"$here/setup.sh" demo
make -s build
"$here/guest-debian.sh" debian debian-lvm >/dev/null
"$here/guest-tiny.sh" >/dev/null
appliance
virt=$("$here/kvm-works")
forget
mkdir -p "$home/disks" "$home/state"
chmod 711 "$home" "$home/disks"
ip link add "$uplink" up type veth peer name "${uplink}p"
ip link set "${uplink}p" up

vm db debian-lvm '"autoStart": { "order": 1, "startDelay": 30, "stopDelay": 60 }'
vm web debian '"autoStart": { "order": 2, "startDelay": 10, "stopDelay": 60 }'
vm router tiny "$(nic 1 ', "disconnected": true')"
vm mail tiny "$(nic 2 ', "disconnected": true')"
vm legacy tiny "$(nic 3), \"power\": \"suspended\""
esxi_host --password-file "$home/password"
# shellcheck disable=SC1091 # KEY=VALUE lines: URL, THUMBPRINT, PASSWORD_FILE, SSH_ADDR, SSH_HOST_KEY
. "$work/ready"

set -- --esxi "$URL" --thumbprint "$THUMBPRINT" --password-file "$PASSWORD_FILE" \
	--storage "dir:$home/disks" --uplink "$uplink" --virt-type "$virt" \
	--acknowledge 'web/vm.autostart=the cutover takes it out of the autostart'
esxodus plan "$@" -o "$home/plan.yaml" --html "$home/before.html"
# The two small ones are a second wave, and one of them comes after the database.
awk '{ print } /^order:/ { on = 1 } on && $0 ~ /vm: web$/ { web = 1 } web && /delay: 10/ { print "  - name: second\n    vms:"; web = 0; on = 0 }' \
	"$home/plan.yaml" >"$work/plan.yaml"
sed 's/^    - vm: mail$/    - after:\n      - db\n      vm: mail/' "$work/plan.yaml" >"$home/plan.yaml"
sed -n '/^order:/,/^[a-z]*:/p' "$home/plan.yaml" | sed '$d' >&2
status=0
# shellcheck disable=SC2153 # from $work/ready
esxodus batch --yes --cutover --state "$home/state" --password-file "$PASSWORD_FILE" \
	--ssh "$SSH_ADDR" --ssh-fingerprint "$SSH_HOST_KEY" "$home/plan.yaml" || status=$?
[ "$status" = 3 ] || die "the batch ended with $status: want 3, as one VM is blocked"
esxodus status --state "$home/state"
esxodus report --state "$home/state" --html "$home/after.html" "$home/plan.yaml"
printf '\n$ virsh list\n' >&2
virsh -c qemu:///system list
say "done in $(($(date +%s) - begun)) s; the reports are $home/before.html and after.html"
say "the domains run until: scripts/demo-batch.sh --remove"
