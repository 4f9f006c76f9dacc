package redact

import (
	"strings"
	"testing"
)

func TestRecord(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"<graphics type='vnc' passwd='swordfish' port='-1'/>", "<graphics type='vnc' passwd='***' port='-1'/>"},
		{`<graphics passwd="sword fish"/>`, `<graphics passwd="***"/>`},
		{"<auth><password>swordfish</password></auth>", "<auth><password>***</password></auth>"},
		{"<v:AdminPassword x='1'>swordfish</v:AdminPassword>", "<v:AdminPassword x='1'>***</v:AdminPassword>"},
		{"//nas/x /mnt cifs user=u,password=swordfish,uid=0 0 0\nnext", "//nas/x /mnt cifs user=u,password=***\nnext"},
		{"pass=swordfish", "pass=***"},
		{"wifi.psk: swordfish of the sea\r\nnext", "wifi.psk: ***\r\nnext"},
		{"API_KEY=swordfish", "API_KEY=***"},
		{"Password: sword fish\nlogin:", "Password: ***\nlogin:"},
		{"root:$6$saltsalt$swordfishSWORDFISH/.:19000:0", "root:***:19000:0"},
		{"x -----BEGIN OPENSSH PRIVATE KEY-----\nsword\nfish\n-----END OPENSSH PRIVATE KEY----- y", "x -----BEGIN OPENSSH PRIVATE KEY-----***-----END OPENSSH PRIVATE KEY----- y"},
		{"-----BEGIN RSA PRIVATE KEY-----\nswordfish, cut off", "-----BEGIN RSA PRIVATE KEY-----***"},
		{"Authorization: Bearer swordfish", "Authorization: ***"},
		{"https://root:swordfish@h/x", "https://root:***@h/x"},
		{"known swordfish", "known ***"},
		// None of these has one.
		{"passed: true, 12 of 12 steps", "passed: true, 12 of 12 steps"},
		{"bypass: yes", "bypass: yes"},
		{"disk key: 2000", "disk key: 2000"},
		{"debian login:", "debian login:"},
	}
	for _, tt := range tests {
		if got := Record(tt.in, "swordfish"); strings.HasPrefix(tt.in, "known") && got != tt.want {
			t.Errorf("Record(%q) = %q; want %q", tt.in, got, tt.want)
		}
		if got := Record(tt.in); !strings.HasPrefix(tt.in, "known") && got != tt.want {
			t.Errorf("Record(%q) = %q; want %q", tt.in, got, tt.want)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"a string", `{"xml":"\u003cgraphics passwd='swordfish'/\u003e"}`, `{"xml":"<graphics passwd='***'/>"}` + "\n"},
		{"by its name", `{"rootPassword":"swordfish","n":12345678901234567890}`, `{"n":12345678901234567890,"rootPassword":"***"}` + "\n"},
		{"inside of one", `{"password":{"value":"swordfish"},"pwd":1234}`, `{"password":"***","pwd":"***"}` + "\n"},
		{"what was seen", `{"passed":true,"pass":"x"}`, `{"pass":"***","passed":true}` + "\n"},
		{"bytes", `[{"oldBytes":"c3dvcmRmaXNo"}]`, `[{"oldBytes":"(12 characters of base64 are left out)"}]` + "\n"},
		{"as a key", `{"https://root:swordfish@h":1}`, `{"https://root:***@h":1}` + "\n"},
		{"two, the second cut off", `{"a":1}` + "\n" + `{"b":"swordfish`, `{"a":1}` + "\n(what follows is no JSON, and left out)\n"},
		{"none", "", ""},
	}
	for _, tt := range tests {
		if got := string(JSON([]byte(tt.in))); got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, got, tt.want)
		}
	}
}
