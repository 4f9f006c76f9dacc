// Package esxi reads a standalone ESXi host: its inventory through the SOAP
// API (/sdk), the files of its datastores over HTTPS (/folder), and the disks of
// VMs that are off as streams of a lease (/nfc; see [Export]). Nothing but
// Shutdown, PowerOff and PowerOn changes anything on the host; a lease keeps its
// VM off while it is held.
//
// Words: a pin is the SHA-256 of the host's TLS certificate; a datastore path
// is "[datastore] directory/file".
//
// A [Client] is one session on one host. Requests of both kinds go over the
// same connections, with the session's cookie. A session that the host forgets
// is renewed; a connection that breaks, or that delivers nothing for
// [Config.Stall], is opened again, and a read continues from the byte it had
// reached.
package esxi
