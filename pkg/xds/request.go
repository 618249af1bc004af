package xds

import (
	"fmt"
	"strings"
	"unicode/utf8"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is wrapped
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxMessage bounds one request: a proxy that comes back names everything that it has, which is about 100 bytes for each resource.
const maxMessage = 2 << 20

const (
	// maxName bounds the names of a request and what Envoy calls itself.
	maxName = 1 << 10
	// maxRefusal is how much of a refusal is looked at. Envoy sends 4096 bytes at most.
	maxRefusal = 4 << 10
)

// frame is a request as it came. Reading it field by field takes no memory for what nobody wants to know: Envoy lists all its extensions,
// and a hostile client may list anything.
type frame struct{ bytes []byte }

// codec hands frames over as they are and leaves everything else to the codec of protobuf.
type codec struct{ encoding.CodecV2 }

func newCodec() grpc.ServerOption {
	return grpc.ForceServerCodecV2(codec{encoding.GetCodecV2("proto")})
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		f.bytes = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// field numbers of DeltaDiscoveryRequest, of the entries of a map, and of google.rpc.Status.
const (
	nodeField, typeField, subscribeField, unsubscribeField, versionsField, nonceField, errorField = 1, 2, 3, 4, 5, 6, 7
	keyField, valueField                                                                          = 1, 2
	idField                                                                                       = 1
	messageField                                                                                  = 2
)

// chooser says which names of a request are kept; it returns the string to keep, which must not share memory with the request.
type chooser interface {
	subscribed(typeURL string, name []byte) (string, bool)
	unsubscribed(typeURL string, name []byte) (string, bool)
	reported(typeURL string, name []byte) (string, bool)
}

// typeOf returns the type that the frame asks for and what the proxy calls itself.
func (f *frame) typeOf() (typeURL, id string, err error) {
	err = f.each(f.bytes, func(n protowire.Number, v []byte) error {
		switch n {
		case typeField:
			if len(v) > maxName {
				return fmt.Errorf("the type URL is %d bytes long", len(v))
			}
			typeURL = string(v)
		case nodeField:
			return f.each(v, func(n protowire.Number, v []byte) error {
				if n == idField {
					id = string(v[:min(len(v), maxName)])
				}
				return nil
			})
		}
		return nil
	})
	return typeURL, strings.ToValidUTF8(id, "?"), err
}

// request reads the frame. The node is left out.
func (f *frame) request(typeURL string, keep chooser) (*discoveryv3.DeltaDiscoveryRequest, error) {
	r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL}
	name := func(v []byte, choose func(string, []byte) (string, bool), into *[]string) error {
		if err := judge(v); err != nil {
			return err
		}
		if s, ok := choose(typeURL, v); ok {
			*into = append(*into, s)
		}
		return nil
	}
	err := f.each(f.bytes, func(n protowire.Number, v []byte) error {
		switch n {
		case subscribeField:
			return name(v, keep.subscribed, &r.ResourceNamesSubscribe)
		case unsubscribeField:
			return name(v, keep.unsubscribed, &r.ResourceNamesUnsubscribe)
		case versionsField:
			return f.version(v, r, keep)
		case nonceField:
			r.ResponseNonce = string(v[:min(len(v), maxName)])
		case errorField:
			r.ErrorDetail = &rpcstatus.Status{}
			return f.each(v, func(n protowire.Number, v []byte) error {
				if n == messageField {
					r.ErrorDetail.Message = cut(string(v[:min(len(v), maxRefusal+utf8.UTFMax)]), maxRefusal)
				}
				return nil
			})
		}
		return nil
	})
	return r, err
}

// version reads an entry of initial_resource_versions.
func (f *frame) version(entry []byte, r *discoveryv3.DeltaDiscoveryRequest, keep chooser) error {
	var key, value []byte
	if err := f.each(entry, func(n protowire.Number, v []byte) error {
		switch n {
		case keyField:
			key = v
		case valueField:
			value = v
		}
		return nil
	}); err != nil {
		return err
	}
	if err := judge(key); err != nil {
		return err
	}
	if name, ok := keep.reported(r.GetTypeUrl(), key); ok {
		if r.InitialResourceVersions == nil {
			r.InitialResourceVersions = map[string]string{}
		}
		r.InitialResourceVersions[name] = strings.ToValidUTF8(string(value[:min(len(value), versionLength)]), "?")
	}
	return nil
}

func judge(name []byte) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("a resource name is %d bytes long, at most %d are possible", len(name), maxName)
	case !utf8.Valid(name):
		return fmt.Errorf("resource name %q is not UTF-8", name)
	}
	return nil
}

// each calls do with every field of a message that has a length. Others carry nothing of interest.
func (*frame) each(message []byte, do func(n protowire.Number, value []byte) error) error {
	for b := message; len(b) > 0; {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if t != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(n, t, b); size < 0 {
				return protowire.ParseError(size)
			}
			b = b[size:]
			continue
		}
		v, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if err := do(n, v); err != nil {
			return err
		}
	}
	return nil
}

// cut shortens a text to a number of bytes, by whole characters, and says so.
func cut(text string, limit int) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= limit {
		return text
	}
	const mark = " …"
	end := limit - len(mark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}

// badRequest is how a stream ends whose client breaks the protocol.
func badRequest(err error) error {
	return status.Errorf(codes.InvalidArgument, "the request cannot be read: %v", err)
}
