package guest

// Claim is what a part of the guest takes for its root, where that isn't the
// root that was found ([Guest.Root]), or isn't certain to be.
type Claim struct {
	By     string `json:"by"`               // ByLoader or ByFstab
	Spec   string `json:"spec"`             // as the guest writes it: UUID=…, /dev/sda1
	Volume string `json:"volume,omitempty"` // the volume that it means; "" where that isn't certain, or can't be seen
}
