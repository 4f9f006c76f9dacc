// Package esxi reads a standalone ESXi host: its inventory through the SOAP
// API (/sdk) and the files of its datastores over HTTPS (/folder). Nothing but
// Shutdown and PowerOff changes anything on the host.
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
