package guest

// Tools is what VMware's own installer, the one in a tar archive, put into a
// guest by the record that it keeps there.
type Tools struct {
	Goes  []string // files, links, and with a / at the end directories in which all is the installer's
	Stays []string // what is in the record and stays: edited since, or by its name not VMware's own
}
