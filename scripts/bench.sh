# What the benchmarks have in common: the ESXi host on loopback, the copy by
# nbdkit and nbdcopy that both compete with, medians. To be sourced after lib.sh.
# The caller sets work, a directory.
# shellcheck shell=sh disable=SC2154

# value KEY prints what the host said on its start.
value() { sed -n "s/^$1=//p" "$work/ready"; }

# serve starts the ESXi host, with the options in host_options, and leaves its password in files: for esxodus, and
# without the newline, which qemu and nbdkit take for a part of it.
serve() {
	# shellcheck disable=SC2086 # options and their values
	esxi_host --password-file "$work/password-file" ${host_options-}
	printf '%s' "$(cat "$work/password-file")" >"$work/password"
}

# nbd_copy URL TARGET CONNECTIONS REQUESTS REQUEST-SIZE copies a file of the
# host's datastore; it gives up after limit seconds.
nbd_copy() {
	# shellcheck disable=SC2016 # nbdkit's shell expands it
	target=$2 connections=$3 requests=$4 request_size=$5 timeout "$limit" nbdkit --unix - --readonly --threads 16 curl "$1" \
		user=root "password=+$work/password" sslverify=false timeout=60 \
		--run 'nbdcopy --connections="$connections" --requests="$requests" \
			--request-size="$request_size" --destination-is-zero "$uri" "$target"'
}

# median FILE DECIMALS prints the median of a file of numbers.
median() {
	sort -n "$1" | awk -v format="%.$2f" '{ v[NR] = $1 }
		END { printf format, NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
