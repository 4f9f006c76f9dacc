package guest

// DriverMatch is where a guest's network configuration picks NICs by a driver
// of VMware's.
type DriverMatch struct {
	File    string
	Pattern string // vmxnet3, vmx*
}
