// Package shell runs commands on an ESXi host through SSH: what the API
// refuses on the free licence, the host's own vim-cmd still does. ESXi has SSH
// off until somebody turns it on (Host > Actions > Services in its web page,
// or "vim-cmd hostsvc/enable_ssh" and "start_ssh" on the console).
//
// Commands are argument vectors. The host's shell gets them quoted; nothing in
// an argument is ever interpreted.
package shell
