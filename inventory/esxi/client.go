package esxi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	dialTimeout   = 15 * time.Second
	logoutTimeout = 10 * time.Second
	idleTimeout   = 90 * time.Second
	// maxIdle bounds the idle connections kept to the host: hostd before 6.5
	// has 128 handlers for everybody.
	maxIdle = 8
)

// Client is a session on one ESXi host. Its methods may be called from
// several goroutines. Close ends it.
type Client struct {
	cfg     Config
	log     *slog.Logger
	soap    *soap.Client
	http    *http.Client // for /folder: the transport and cookies of soap
	content types.ServiceContent
	retry   backoff
	meter   *meter

	pin atomic.Pointer[string] // thumbprint of the certificate last seen

	login   chan struct{} // holds one token: whoever has it may log in
	session atomic.Uint64 // counts logins
	refused error         // a login that the host refused; guarded by login

	mu      sync.Mutex
	stores  []store              // datastores by longest name; nil until asked for
	files   int                  // open files
	exports map[*Export]struct{} // leases that are held
	stop    context.CancelFunc
	alive   chan struct{} // closed when the keep-alive has ended
}

// Dial logs in to the host that cfg names. Errors wrap [ErrLogin],
// [ErrCertificate], [ErrThumbprint], [ErrLegacyTLS] or [ErrNotESXi] where
// they are that.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, log: cfg.Log.With("esxi", cfg.URL.Host), retry: defaultBackoff(), login: make(chan struct{}, 1)}
	c.meter = &meter{pace: defaultPace(), tell: c.tellSlow}
	c.login <- struct{}{}
	if err := c.connect(); err != nil {
		return nil, err
	}
	if err := c.open(ctx); err != nil {
		c.http.CloseIdleConnections()
		return nil, err
	}
	return c, nil
}

// tellSlow warns of a source that delivers, but slowly: it goes on.
func (c *Client) tellSlow(rate int64, over time.Duration) {
	c.log.Warn("the source is slow: the copy goes on, but will take long",
		"rate", fmt.Sprintf("%.1f KiB/s", float64(rate)/1024), "measured", over.Round(time.Second).String(), "floor", fmt.Sprintf("%d KiB/s", c.meter.floor>>10),
		"advice", "check the network between here and the host, what else reads from its datastore, and proxies in between; more --connections may help")
}

// connect makes the HTTP side: one transport and one set of cookies.
func (c *Client) connect() error {
	address := *c.cfg.URL
	address.User = nil
	c.soap = soap.NewClient(&address, true) // true: tlsConfig verifies
	c.soap.Version, c.soap.Namespace = vim25.Version, "urn:"+vim25.Namespace
	c.soap.UserAgent = "esxodus"
	t := c.soap.DefaultTransport()
	t.Proxy = nil // a host in one's own rack is not behind the web proxy
	// govmomi's own dialler ignores the context and drops TLS settings.
	t.DialTLSContext = nil
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	t.TLSHandshakeTimeout = c.cfg.Stall
	t.TLSClientConfig = c.cfg.tlsConfig(func(tp string) { c.pin.Store(&tp) })
	t.MaxIdleConns, t.MaxIdleConnsPerHost = maxIdle, maxIdle
	t.IdleConnTimeout = idleTimeout
	t.DisableCompression = true
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	c.http = &http.Client{
		Transport: t,
		Jar:       jar,
		// Another address has another certificate, and no business here.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.soap.Client = http.Client{Transport: bounded{t, func() time.Duration { return callStalls * c.cfg.Stall }}, Jar: jar, CheckRedirect: c.http.CheckRedirect}
	return nil
}

// open negotiates the API's version and logs in.
func (c *Client) open(ctx context.Context) error {
	if err := c.negotiate(ctx); err != nil {
		return wrapDial(c.cfg.URL.Host, err)
	}
	content, err := methods.GetServiceContent(ctx, &caller{c: c, tries: 1}) // negotiate was patient
	if err != nil {
		return wrapDial(c.cfg.URL.Host, fmt.Errorf("service content: %w", err))
	}
	c.content = content
	if about := content.About; about.ApiType != "HostAgent" {
		return fmt.Errorf("%s: %w but %s %s: give the address of each ESXi host itself",
			c.cfg.URL.Host, ErrNotESXi, about.Name, about.Version)
	}
	if content.SessionManager == nil {
		return fmt.Errorf("%s: %w: no session manager", c.cfg.URL.Host, ErrProtocol)
	}
	if err := c.relogin(ctx, 0); err != nil {
		return fmt.Errorf("%s: user %s: %w", c.cfg.URL.Host, c.cfg.user(), err)
	}
	return nil
}

// relogin makes a new session, unless somebody has since the one that the
// caller used, numbered seen. A user or password once refused is not tried
// again: ESXi locks the user out after five times.
func (c *Client) relogin(ctx context.Context, seen uint64) error {
	select {
	case <-c.login:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { c.login <- struct{}{} }()
	if c.refused != nil {
		return c.refused
	}
	if c.session.Load() != seen {
		return nil
	}
	if seen > 0 {
		c.log.InfoContext(ctx, "session expired, logging in again")
	}
	c.forgetCookies()
	_, err := methods.Login(ctx, &caller{c: c, tries: c.retry.tries}, &types.Login{
		This: *c.content.SessionManager, UserName: c.cfg.user(), Password: c.cfg.Password.Reveal(), Locale: "en_US",
	})
	if err != nil {
		err = wrapFault(err)
		if errors.Is(err, ErrLogin) {
			c.refused = err
		}
		return err
	}
	c.session.Add(1)
	return nil
}

// forgetCookies drops the old session, which the host would otherwise take
// for the one to log in to.
func (c *Client) forgetCookies() {
	old := c.http.Jar.Cookies(c.root())
	for _, cookie := range old {
		cookie.Path, cookie.MaxAge, cookie.Value, cookie.Quoted = "/", -1, "", false
	}
	c.http.Jar.SetCookies(c.root(), old)
}

func (c *Client) root() *url.URL {
	return &url.URL{Scheme: "https", Host: c.cfg.URL.Host, Path: "/"}
}

// Host returns the host's address as it was given, without user.
func (c *Client) Host() string { return c.cfg.URL.Host }

// Thumbprint returns the SHA-256 thumbprint of the host's certificate, in the
// form that Config.Thumbprint takes.
func (c *Client) Thumbprint() string {
	if tp := c.pin.Load(); tp != nil {
		return *tp
	}
	return ""
}

// Close gives back the leases of exports, logs out and closes all connections.
// Files that are still open fail from then on.
func (c *Client) Close(ctx context.Context) (err error) {
	leases := c.closeExports(ctx)
	defer func() { err = errors.Join(leases, err) }()
	c.mu.Lock()
	stop, alive := c.stop, c.alive
	c.stop, c.alive = nil, nil
	c.mu.Unlock()
	if stop != nil {
		stop()
		<-alive
	}
	defer c.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
	defer cancel()
	_, err = methods.Logout(ctx, &caller{c: c, tries: 1}, &types.Logout{This: *c.content.SessionManager})
	if _, gone := faultOf(err).(types.NotAuthenticated); gone {
		return nil // the session had ended by itself
	}
	if err != nil {
		return fmt.Errorf("%s: log out: %w", c.cfg.URL.Host, err)
	}
	return nil
}

func errText(err error, parts ...string) bool {
	text := err.Error()
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
