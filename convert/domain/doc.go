// Package domain turns a VM of the inventory into a libvirt domain. It does no
// I/O: what it says depends on its arguments alone, and comes out the same
// each time, down to PCI addresses.
//
// Beside the domain it returns the ledger, in which every field of the VM that
// is set on the source is mapped, changed or dropped, with the reason; and the
// concerns, whose ids are the Concern constants.
//
// What is decided here, and why, stands where it's decided:
//
//   - machine and firmware: the constants q35 and pc, [builder.platform]
//   - SMBIOS UUID and its byte order: [builder.uuid]
//   - PCI addresses and the names of NICs: pciBus, [builder.nicAddresses]
//   - disk bus: [builder.diskBus]; boot order: [builder.boot]
//   - limits, reservations and shares: [builder.cpuLimit], [builder.cpuShares],
//     [builder.memory]
package domain
