package virt

import (
	"cmp"
	"strings"
	"testing"
	"time"
)

// TestCourse has boots of every kind, by what is seen of them and when. No clock
// runs.
func TestCourse(t *testing.T) {
	t.Parallel()
	const min = time.Minute
	prompt := outcome{kind: up, line: "web login:"}
	emergencyMode := outcome{kind: failed, reason: emergency, line: "You are in emergency mode"}
	type at struct {
		after   time.Duration
		state   state
		console outcome
		writes  int64
		said    string
		asks    string // unfinished line
		awaits  awaited
	}
	// up is a guest that shows its prompt and answers Enter after a minute and seven
	// seconds; then comes what is given.
	booted := func(net awaited, then ...at) []at {
		s := []at{
			{after: min, console: prompt, asks: "web login:"},
			{after: min + 5*time.Second, console: prompt, asks: "web login:"},
			{after: min + 6*time.Second, console: prompt, asks: "web login:"},
			{after: min + 7*time.Second, console: prompt, asks: "web login:"},
		}
		for i := range s {
			s[i].awaits = net
		}
		return append(s, then...)
	}
	const getty = "web login:"
	tests := []struct {
		name   string
		expect ProofKind
		seen   []at
		want   string // "login-prompt: evidence", "failed: reason", "" undecided
		still  int    // sights that decide nothing, before the one that does
	}{
		{"prompt", LoginPrompt, []at{{after: min, console: prompt, asks: getty}, {after: min + 4*time.Second, console: prompt, asks: getty}, {after: min + 5*time.Second, console: prompt, asks: getty}, {after: min + 6*time.Second, console: prompt, asks: getty}, {after: min + 7*time.Second, console: prompt, asks: getty}}, "login-prompt: web login:", 4},
		{"prompt that answers the second time", LoginPrompt, []at{{after: min, console: prompt, asks: getty}, {after: min + 5*time.Second, console: prompt}, {after: min + 10*time.Second, console: prompt}, {after: min + 11*time.Second, console: prompt, asks: getty}, {after: min + 12*time.Second, console: prompt, asks: getty}}, "login-prompt: web login:", 4},
		{"prompt that only kernel messages follow", LoginPrompt, []at{{after: min, console: prompt, asks: getty}, {after: min + 5*time.Second, console: prompt}, {after: min + 9*time.Second, console: prompt, asks: "[ 9.1] wat"}, {after: min + 10*time.Second, console: prompt, asks: "[ 9.2] watchdog: BUG"}, {after: 3 * min, console: prompt}}, "failed: its login prompt does not answer Enter", 4},
		{"a shell that logs in by itself", LoginPrompt, []at{{after: min, console: prompt, asks: getty}, {after: min + 5*time.Second, console: prompt}, {after: min + 6*time.Second, console: prompt, asks: "root@web:~#"}, {after: min + 7*time.Second, console: prompt, asks: "root@web:~#"}}, "login-prompt: web login:", 3},
		{"prompt at the last moment", LoginPrompt, []at{{after: 7*min - 1, console: prompt}, {after: 7*min + 1*time.Second, console: prompt}, {after: 7*min + 5*time.Second, console: prompt, asks: getty}, {after: 7*min + 6*time.Second, console: prompt, asks: getty}, {after: 7*min + 7*time.Second, console: prompt, asks: getty}}, "login-prompt: web login:", 4},
		{"prompt, then others write into its line", LoginPrompt, []at{{after: min, console: prompt}, {after: min + 2*time.Second}, {after: min + 5*time.Second}, {after: min + 6*time.Second, asks: getty}, {after: min + 7*time.Second, asks: getty}}, "login-prompt: web login:", 4},
		{"no prompt, its line went on at once", LoginPrompt, []at{{after: min, console: prompt}, {after: min + time.Second/5}, {after: 2 * min}, {after: 7 * min}}, "failed: no login prompt on its serial console,", 3},
		{"prompt, then emergency mode", LoginPrompt, []at{{after: min, console: prompt}, {after: min + 4*time.Second, console: emergencyMode}}, "failed: " + emergency, 1},
		{"prompt, then a reset", LoginPrompt, []at{{after: min, console: prompt}, {after: min + time.Second, console: prompt, state: gone}}, "failed: it powered off, or reset, right after its login prompt,", 1},
		{"reset", Activity, []at{{after: min, writes: 100, state: gone}}, "failed: it powered off, or reset (and was kept from starting again)", 0},
		{"paused by an error", Activity, []at{{after: min, writes: 100, state: stopped}}, "failed: it was stopped, for instance by a disk error,", 0},
		// Case P1: 133 requests, and then it waits.
		{"hangs, and a login is known", LoginPrompt, []at{{after: min, writes: 133}, {after: 7*min - 1, writes: 133}, {after: 7 * min, writes: 133}}, "failed: no login prompt on its serial console,", 2},
		{"writes on, and a login is known", LoginPrompt, []at{{after: min, writes: 133}, {after: 7 * min, writes: 999}}, "failed: no login prompt on its serial console,", 1},
		{"hangs, and no login is known", Activity, []at{{after: 90 * time.Second, writes: 133}, {after: 3 * min, writes: 133}, {after: 7 * min, writes: 133}}, "failed: no login prompt, and it last wrote to its disks after 1m30s,", 2},
		{"at work", Activity, []at{{after: min, writes: 133}, {after: 5 * min, writes: 140}, {after: 7*min - 1, writes: 140}, {after: 7 * min, writes: 140}}, "activity: silent serial console; read 0 KiB, wrote 0 KiB in 140 requests, the last after 5m0s; used 0s of CPU", 3},
		{"at work, with kernel messages", Activity, []at{{after: 7 * min, writes: 140, said: "A start job is running"}}, "activity: no login prompt on its serial console, whose last line is \"A start job is running\"; read 0 KiB, wrote 0 KiB in 140 requests, the last after 7m0s; used 0s of CPU", 0},
		{"a boot loader's writes", Activity, []at{{after: 7 * min, writes: leastWrites - 1}}, "failed: no login prompt, and no sign that it mounted its disks,", 0},
		{"its network answers, and then it shows its prompt", LoginPrompt, booted(nothing), "login-prompt: web login:", 3},
		{"it answers after its prompt", LoginPrompt, booted(addresses, at{after: 2 * min, awaits: addresses}, at{after: 3 * min, awaits: nothing}), "login-prompt: web login:", 5},
		{"its addresses answer, and ping doesn't in time", LoginPrompt, booted(extras, at{after: 2 * min, awaits: extras}), "login-prompt: web login:", 4},
		{"its addresses answer late, and ping a bit later", LoginPrompt, booted(addresses, at{after: 3 * min, awaits: extras}, at{after: 3*min + 29*time.Second, awaits: extras}, at{after: 3*min + 29*time.Second, awaits: nothing}), "login-prompt: web login:", 6},
		{"its network never answers", LoginPrompt, booted(addresses, at{after: 7*min - 1, awaits: addresses}, at{after: 7 * min, awaits: addresses}), "failed, but up: not all of its addresses answered", 5},
		{"it panics while its network is awaited", LoginPrompt, booted(addresses, at{after: 2 * min, console: emergencyMode, awaits: addresses}), "failed: " + emergency, 4},
		{"it resets while its network is awaited", LoginPrompt, booted(addresses, at{after: 2 * min, state: gone, awaits: addresses}), "failed: it powered off, or reset, right after its login prompt,", 4},
		{"no prompt, and its network answers", LoginPrompt, []at{{after: 7 * min}}, "failed: no login prompt on its serial console,", 0},
		{"at work, and its network doesn't answer", Activity, []at{{after: min, writes: 133, awaits: addresses}, {after: 7 * min, writes: 140, awaits: addresses}}, "failed, but up: not all of its addresses answered", 1},
		{"at work, and its network answers", Activity, []at{{after: 7 * min, writes: 140, awaits: extras}}, "activity: silent serial console; read 0 KiB, wrote 0 KiB in 140 requests, the last after 7m0s; used 0s of CPU", 0},
		{"prompt where none is known", Activity, []at{{after: min, console: prompt}, {after: min + 5*time.Second, console: prompt}, {after: min + 6*time.Second, console: prompt, asks: getty}, {after: min + 7*time.Second, console: prompt, asks: getty}}, "login-prompt: web login:", 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Unix(1e9, 0)
			c := course{want: ProofRequest{Expect: tt.expect, For: 7 * min, Stay: 5 * time.Second, Answer: 2 * min, Linger: 30 * time.Second}, start: start}
			for i, s := range tt.seen {
				c.count(start.Add(s.after), counts{writes: s.writes})
				seen := sight{now: start.Add(s.after), state: s.state, console: s.console, said: s.said, asks: s.asks, awaits: s.awaits}
				e, certain := c.judge(seen)
				got := strings.TrimPrefix(string(e.kind)+": "+e.evidence, ": ")
				if e.kind == "" {
					got = "failed: " + e.reason
				}
				if e.silent {
					got = strings.Replace(got, "failed", "failed, but up", 1)
				}
				if certain != (i == tt.still) || certain && got != tt.want {
					t.Fatalf("after %v: %q, certain %v; want %q at sight %d", s.after, got, certain, tt.want, tt.still)
				}
				c.ask(seen)
			}
		})
	}
}

// TestCourseOfConsole: what a guest writes by itself, and at each Enter.
func TestCourseOfConsole(t *testing.T) {
	t.Parallel()
	const (
		mute, none  = "failed: its login prompt does not answer Enter", "failed: no login prompt on its serial console,"
		spinning    = "\r\x1b[K[  *** ] A start job is running for /opt (9s / 1min 30s)"
		unfinished  = "[   12.345678] watchdog: BUG: soft lock"
		palette     = "\x1b]P0222222\x1b]P1803232\x1b]P7dca3a3\x1b[2J"
		supportable = "[    3.1] usb 1-1: no supportable device.\r\npasswd: the root account is locked\r\n"
	)
	for _, tt := range []struct {
		name, boot, answer, noise, want string // noise: at each look
		dies                            time.Duration
	}{
		{"getty", "\r\nDebian GNU/Linux 12 web ttyS0\r\n\r\nweb login: ", "\r\nweb login: ", "", "web login:", 0},
		{"messages like a failure's", supportable + "web login: ", "\r\nweb login: ", "", "web login:", 0},
		{"issue without a newline", "Authorized use only. web login: ", "\r\nAuthorized use only. web login: ", "", "Authorized use only. web login:", 0},
		{"a loader's title that is left behind", "GNU GRUB: web login: ", "", "", none, 0},
		{"a loader's title that something else follows", "GNU GRUB: web login: ", "\r\ngo on: ", "", none, 0},
		{"something like a prompt, then one", "Starting the login: ", "OK\r\nweb login: ", "", "web login:", 0},
		{"no host name", "(none) login: ", "\r\n(none) login: ", "", "(none) login:", 0},
		{"issue that sets the Linux console's colours", palette + "web login: ", "\r\n" + palette + "web login: ", "", "web login:", 0},
		{"issue that ends in one", palette[:len(palette)-4] + "web login: ", "\r\nweb login: ", "", "web login:", 0},
		{"title never ended, then a screen cleared", "\x1b]0;x\x1b[2Jweb login: ", "\r\nweb login: ", "", "web login:", 0},
		{"kernel that never stops writing", "web login: ", "\r\nweb login: ", "[   12.345678] audit: type=1400\r\n", "web login:", 0},
		{"shell that asks for Enter", "Please press Enter to activate this console. ", "\r\nbash-5.2# ", "", "Please press Enter to activate this console.", 0},
		{"kernel that hangs in a line", "web login: ", unfinished, "", mute, 0},
		{"systemd that waits for a device", "web login: ", spinning, "", mute, 0},
		{"getty that dies soon", "web login: ", "\r\nweb login: ", "", mute, 4 * time.Second},
		{"only the line that Enter ends", "web login: ", "\r\n", "", mute, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			console := newConsole(nil)
			now := time.Unix(1e9, 0)
			c := course{want: ProofRequest{Expect: LoginPrompt, For: 7 * time.Minute, Stay: 5 * time.Second, Answer: 2 * time.Minute}, start: now}
			console.feed([]byte(tt.boot))
			dies := now.Add(cmp.Or(tt.dies, time.Hour))
			for ; now.Sub(c.start) <= 2*c.want.For; now = now.Add(pollEvery) {
				s := sight{now: now, console: console.outcome, asks: console.unfinished(), again: console.again}
				if e, certain := c.judge(s); certain {
					got := e.evidence
					if e.kind == "" {
						got = "failed: " + e.reason
					}
					if got != tt.want {
						t.Errorf("after %v: %q; want %q", now.Sub(c.start), got, tt.want)
					}
					return
				}
				if c.ask(s) {
					console.ask()
					if now.Before(dies) {
						console.feed([]byte(tt.answer))
					}
				}
				console.feed([]byte(tt.noise))
			}
			t.Errorf("nothing is certain after %v", now.Sub(c.start))
		})
	}
}
