package plan

import (
	"testing"
	"time"
)

// TestCheckShutdown: a shutdown cuts a VM's power as its text says, or the plan isn't
// carried out.
func TestCheckShutdown(t *testing.T) {
	plain, cuts := "shut down \"web\" through SSH", "shut down \"web\" through SSH"+cutText(10*time.Minute)
	for _, tt := range []struct {
		step Step
		ok   bool
	}{
		{Step{Via: "ssh", Text: plain}, true},
		{Step{Via: "api", PowerOff: 600, Text: cuts}, true},
		{Step{Via: "ssh", PowerOff: 600, Text: plain}, false},
		{Step{Via: "ssh", PowerOff: 60, Text: cuts}, false},
		{Step{Via: "ssh", Text: cuts}, false},
		{Step{Via: "ssh", PowerOff: -600, Text: cuts}, false},
		{Step{Via: "telnet", Text: plain}, false},
	} {
		if err := tt.step.checkShutdown(); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.step, err)
		}
	}
}
