package redirect

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// answerTimeout bounds the wait for the kernel's answers. A kernel without nftables answers a whole batch once, and the
// library would wait indefinitely for the rest.
const answerTimeout = 5 * time.Second

// ifInet6 exists exactly when the kernel has an IPv6 stack.
const ifInet6 = "/proc/net/if_inet6"

// Apply puts the rules of c in force in the network namespace of the caller, replacing what an earlier call left there. It
// needs CAP_NET_ADMIN. On error nothing has changed; the error says in words what the kernel lacks.
func Apply(c Config) (Summary, error) { return ApplyIn(0, c) }

// ApplyIn is Apply for the network namespace behind the open file descriptor netns; 0 means the caller's own.
func ApplyIn(netns int, c Config) (Summary, error) {
	summary := Summary{Config: c}
	if !c.Enabled {
		return summary, nil
	}
	if err := c.Validate(); err != nil {
		return summary, err
	}
	if _, err := os.Stat(ifInet6); err != nil && c.IPv6 {
		c.IPv6, summary.Config.IPv6 = false, false
		summary.Warnings = append(summary.Warnings, "the kernel has no IPv6; only IPv4 is redirected")
	}
	conn, err := nftables.New(nftables.WithNetNSFd(netns), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return c.SetReadDeadline(time.Now().Add(answerTimeout))
	}))
	if err != nil {
		return summary, explain(err)
	}
	if err := program(conn, c); err != nil {
		return summary, fmt.Errorf("build nftables table %s: %w", tableName, err)
	}
	if err := conn.Flush(); err != nil {
		return summary, explain(err)
	}
	return summary, nil
}

// Present says whether an earlier Apply left its table in the network namespace behind the open file descriptor netns.
func Present(netns int) (bool, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(netns))
	if err != nil {
		return false, explain(err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, explain(err)
	}
	for _, t := range tables {
		if t.Name == tableName {
			return true, nil
		}
	}
	return false, nil
}

// explain says in words why the kernel refused; the cause stays inside for errors.Is.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("no permission to change nftables: the container needs user 0 and the capability NET_ADMIN: %w", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("the kernel of this node has no nftables (module nf_tables), which redirection needs; iptables is not used instead: %w", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("the kernel of this node lacks a part of nftables (nat chains of family inet, fib or redirect: "+
			"modules nft_chain_nat, nft_fib_inet, nft_redir; Linux 5.2 or newer): %w", err)
	default:
		return fmt.Errorf("program nftables: %w", err)
	}
}

// program queues the whole table on conn: delete what is there, then sets, chains and rules in the order of Rules.
func program(conn *nftables.Conn, c Config) error {
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	// Adding first makes the deletion valid whether or not the table exists.
	conn.AddTable(t)
	conn.DelTable(t)
	conn.AddTable(t)
	b := builder{conn: conn, table: t, ipv4Only: !c.IPv6}

	appPorts := b.portSet("app_ports", c.AppPorts)
	skipPorts := b.portSet("skip_ports", c.skipPorts())
	skipV4 := b.addrSet("skip_v4", nftables.TypeIPAddr, c.skipSpans(false))
	var skipV6 *nftables.Set
	if c.IPv6 {
		skipV6 = b.addrSet("skip_v6", nftables.TypeIP6Addr, c.skipSpans(true))
	}

	if appPorts != nil {
		prerouting := b.hook("prerouting", nftables.ChainHookPrerouting)
		b.rule(prerouting, b.family(), notLocal(expr.Fib{FlagSADDR: true}), tcp(), inPortSet(appPorts), redirectTo(c.InboundPort))
	}
	output := b.hook("output", nftables.ChainHookOutput)
	egress := conn.AddChain(&nftables.Chain{Name: "egress", Table: t})
	b.rule(output, b.family(), notLocal(expr.Fib{FlagDADDR: true}), tcp(), verdict(expr.VerdictJump, egress.Name))

	done := verdict(expr.VerdictReturn, "")
	if c.UID != nil {
		b.rule(egress, owner(expr.MetaKeySKUID, *c.UID), done)
	}
	if c.GID != nil {
		b.rule(egress, owner(expr.MetaKeySKGID, *c.GID), done)
	}
	b.rule(egress, tcp(), inPortSet(skipPorts), done)
	if skipV4 != nil {
		b.rule(egress, nfproto(unix.NFPROTO_IPV4), inAddrSet(skipV4, 16, 4), done)
	}
	if skipV6 != nil {
		b.rule(egress, nfproto(unix.NFPROTO_IPV6), inAddrSet(skipV6, 24, 16), done)
	}
	b.rule(egress, tcp(), redirectTo(c.OutboundPort))
	return b.err
}

// builder queues objects of one table and keeps the first error.
type builder struct {
	conn     *nftables.Conn
	table    *nftables.Table
	ipv4Only bool
	err      error
}

func (b *builder) hook(name string, hook *nftables.ChainHook) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{
		Name: name, Table: b.table, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: nftables.ChainPriorityNATDest,
	})
}

func (b *builder) rule(chain *nftables.Chain, parts ...[]expr.Any) {
	var exprs []expr.Any
	for _, part := range parts {
		exprs = append(exprs, part...)
	}
	b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: chain, Exprs: exprs})
}

func (b *builder) set(name string, kind nftables.SetDatatype, interval bool, elements []nftables.SetElement) *nftables.Set {
	if len(elements) == 0 {
		return nil
	}
	set := &nftables.Set{Table: b.table, Name: name, KeyType: kind, Interval: interval}
	if err := b.conn.AddSet(set, elements); err != nil && b.err == nil {
		b.err = err
	}
	return set
}

func (b *builder) portSet(name string, ports []uint16) *nftables.Set {
	var elements []nftables.SetElement
	for _, port := range ports {
		elements = append(elements, nftables.SetElement{Key: binaryutil.BigEndian.PutUint16(port)})
	}
	return b.set(name, nftables.TypeInetService, false, elements)
}

// addrSet makes an interval set. A run is a start and the first address behind it; a run up to the highest address has no end.
func (b *builder) addrSet(name string, kind nftables.SetDatatype, spans []span) *nftables.Set {
	var elements []nftables.SetElement
	for _, s := range spans {
		elements = append(elements, nftables.SetElement{Key: s.first.AsSlice()})
		if end := s.last.Next(); end.IsValid() {
			elements = append(elements, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return b.set(name, kind, true, elements)
}

// family limits a rule of a hook to IPv4 when IPv6 is to be left alone.
func (b *builder) family() []expr.Any {
	if b.ipv4Only {
		return nfproto(unix.NFPROTO_IPV4)
	}
	return nil
}
