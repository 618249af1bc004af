package explain

import (
	"fmt"
	"io"
	"strings"
)

// Print writes the answer as a story, one line per step.
func (a *Answer) Print(w io.Writer) {
	fmt.Fprintf(w, "proxy     %s\n", a.Proxy)
	for i, h := range a.Hops {
		if len(a.Hops) > 1 {
			fmt.Fprintf(w, "hop %d\n", i+1)
		}
		h.print(w)
	}
}

func (h *Hop) print(w io.Writer) {
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-9s %s\n", key, value)
		}
	}
	line("listener", h.Listener)
	chain := h.Chain
	if h.DefaultChain && chain != "" {
		chain += " (no other chain takes the connection)"
	}
	line("chain", chain)
	line("routes", h.RouteConfiguration)
	if h.VirtualHost != "" {
		line("host", fmt.Sprintf("%s (domain %s)", h.VirtualHost, h.Domain))
	}
	for _, m := range h.Missed {
		line("not", m.Route+": "+m.Why)
	}
	line("route", h.Route)
	line("cause", h.Cause)
	line("timeout", h.Timeout)
	line("idle", h.IdleTimeout)
	if r := h.Retry; r != nil {
		text := fmt.Sprintf("up to %d on %s", r.Max, r.On)
		if len(r.StatusCodes) > 0 {
			text += " " + strings.Trim(fmt.Sprint(r.StatusCodes), "[]")
		}
		if r.PerTryTimeout != "" {
			text += ", each try within " + r.PerTryTimeout
		}
		line("retries", text)
	}
	if h.Host != "" {
		line("sends", h.Host+h.Path)
	}
	for _, s := range h.Shares {
		line("cluster", s.text())
		if s.Defined {
			line("endpoints", strings.Join(s.Endpoints, " "))
		}
	}
	line("outcome", h.Outcome)
}

func (s Share) text() string {
	text := fmt.Sprintf("%s %.4g %%", s.Cluster, s.Percent)
	if !s.Defined {
		return text + " (not defined: 503)"
	}
	if s.TLS {
		text += " TLS"
	}
	if s.Cause != "" {
		text += " from " + s.Cause
	}
	return text
}
