package redirect

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// reg is the one register that the rules need: each value is compared as soon as it is loaded.
const reg = 1

// tcpDestinationPort is the place of the destination port in a TCP header.
const tcpDestinationPort, portLength = 2, 2

func equal(key expr.MetaKey, data []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data},
	}
}

func tcp() []expr.Any { return equal(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP}) }

func nfproto(family byte) []expr.Any { return equal(expr.MetaKeyNFPROTO, []byte{family}) }

func owner(key expr.MetaKey, id uint32) []expr.Any {
	return equal(key, binaryutil.NativeEndian.PutUint32(id))
}

// notLocal matches when the address that fib names is not one of this namespace.
func notLocal(fib expr.Fib) []expr.Any {
	fib.Register, fib.ResultADDRTYPE = reg, true
	return []expr.Any{
		&fib,
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

func inPortSet(set *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: tcpDestinationPort, Len: portLength},
		&expr.Lookup{SourceRegister: reg, SetName: set.Name, SetID: set.ID},
	}
}

// inAddrSet looks up the destination address, which lies at offset in the network header.
func inAddrSet(set *nftables.Set, offset, length uint32) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
		&expr.Lookup{SourceRegister: reg, SetName: set.Name, SetID: set.ID},
	}
}

func redirectTo(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: reg, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: reg},
	}
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}
