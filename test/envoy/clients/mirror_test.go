package clients

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// mirror answers every request, in HTTP/1 or HTTP/2, with what it saw: "<name> <path> <host>". It takes every path as it stands there.
func mirror(t *testing.T, name, address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				first := make([]byte, len(http2.ClientPreface))
				if _, err := io.ReadFull(c, first); err != nil {
					return
				}
				if string(first) == http2.ClientPreface {
					mirrorHTTP2(c, name)
				} else {
					mirrorHTTP1(c, name, first)
				}
			}()
		}
	}()
}

// mirrorHTTP1 answers one request and ends the connection.
func mirrorHTTP1(c net.Conn, name string, head []byte) {
	b := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if _, err := c.Read(b); err != nil {
			return
		}
		head = append(head, b[0])
	}
	lines := strings.Split(string(head), "\r\n")
	line := lines[0]
	line = line[strings.IndexByte(line, ' ')+1:]
	path := line[:max(strings.LastIndexByte(line, ' '), 0)]
	host, upgrade := "", ""
	for _, h := range lines[1:] {
		key, value, _ := strings.Cut(h, ":")
		switch value = strings.TrimSpace(value); strings.ToLower(key) {
		case "host":
			host = value
		case "upgrade":
			upgrade = value
		}
	}
	if strings.EqualFold(upgrade, "websocket") {
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nseen: %s %s %s\r\n\r\n", upgrade, name, path, host)
		return
	}
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\nseen: %s %s %s\r\n\r\n", name, path, host)
}

func mirrorHTTP2(c net.Conn, name string) {
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if f.WriteSettings() != nil {
		return
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() && f.WriteSettingsAck() != nil {
				return
			}
		case *http2.MetaHeadersFrame:
			var block bytes.Buffer
			e := hpack.NewEncoder(&block)
			_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			_ = e.WriteField(hpack.HeaderField{Name: "seen", Value: name + " " + frame.PseudoValue("path") + " " + frame.PseudoValue("authority")})
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true}) != nil {
				return
			}
		}
	}
}
