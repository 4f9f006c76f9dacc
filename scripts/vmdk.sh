# Writes the descriptor that ESXi puts beside a flat file; to be sourced.
# shellcheck shell=sh

# vmdk_descriptor NAME ADAPTER writes NAME.vmdk for NAME-flat.vmdk, both in the
# current directory. ADAPTER is what ddb.adapterType says: ESXi writes lsilogic
# for pvscsi too. The text, its order and its odd spaces are as ESXi 6 and later
# write them.
vmdk_descriptor() {
	v_sectors=$(($(stat -c %s "$1-flat.vmdk") / 512))
	v_cid=$(printf '%s' "$1" | sha256sum | cut -c1-8)
	v_uuid=$(printf '%s' "uuid $1" | sha256sum | cut -c1-26 | sed 's/../& /g; s/ $//; s/^/60 00 C2 /;
		s/^\(\(.. \)\{7\}..\) /\1-/')
	cat >"$1.vmdk" <<-END
		# Disk DescriptorFile
		version=1
		encoding="UTF-8"
		CID=$v_cid
		parentCID=ffffffff
		createType="vmfs"

		# Extent description
		RW $v_sectors VMFS "$1-flat.vmdk"

		# The Disk Data Base
		#DDB

		ddb.adapterType = "$2"
		ddb.geometry.cylinders = "$((v_sectors / 255 / 63))"
		ddb.geometry.heads = "255"
		ddb.geometry.sectors = "63"
		ddb.longContentID = "$(printf '%s' "content $1" | sha256sum | cut -c1-24)$v_cid"
		ddb.thinProvisioned = "1"
		ddb.toolsInstallType = "4"
		ddb.toolsVersion = "12352"
		ddb.uuid = "$v_uuid"
		ddb.virtualHWVersion = "19"
	END
}
