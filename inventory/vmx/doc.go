// Package vmx reads a .vmx file, VMware's description of one virtual machine,
// into the inventory's model: for hosts that have no API any more, from a
// datastore that is mounted or copied.
//
// A .vmx is lines of key = "value". Keys have no case. In a value |XX is the
// byte XX; the bytes are in the character set that the key .encoding names.
//
// What only a running host knows (power state, snapshots, autostart, files'
// sizes) is not in a .vmx and stays empty. A disk's capacity is in its
// descriptor; [Read] looks there.
package vmx
