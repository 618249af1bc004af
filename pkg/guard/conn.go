package guard

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Conn is a connection of a Listener. Its methods may be called on a nil Conn, which bounds nothing.
type Conn struct {
	net.Conn
	listener *Listener
	source   netip.Addr

	mu     sync.Mutex
	proven int // streams of known clients
	owner  string
	closed bool
	timer  *time.Timer
	blamed int
	// read is what was read without a known client, pending what was read since the last message.
	read, pending int64
	permit        *permit
}

var errTooMuch = errors.New("the client sent more than it may before it is known")

// Read implements net.Conn within the bounds.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		if more := c.account(int64(n)); more != nil {
			_ = c.Close()
			return 0, more
		}
	}
	return n, err
}

func (c *Conn) account(n int64) error {
	c.mu.Lock()
	if c.proven == 0 {
		c.read += n
		tooMuch := c.listener.limits.Bytes > 0 && c.read > c.listener.limits.Bytes
		c.mu.Unlock()
		if tooMuch {
			return errTooMuch
		}
		return nil
	}
	c.pending += n
	needs, owner := c.pending > small && c.permit == nil, c.owner
	c.mu.Unlock()
	if !needs {
		return nil
	}
	p, err := c.listener.large.acquire(owner)
	if err != nil {
		return err
	}
	p.timer = time.AfterFunc(largeTime, func() { _ = c.Close() })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.permit != nil || c.proven == 0 {
		p.release()
		return nil
	}
	c.permit = p
	return nil
}

// Message says that a message has been taken in; the next large one needs a permit of its own.
func (c *Conn) Message() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done()
}

func (c *Conn) done() {
	c.pending = 0
	if c.permit != nil {
		c.permit.release()
		c.permit = nil
	}
}

// Prove says that a stream of the connection has a known client, until the returned function is called. owner is who shares the room for
// large messages with it; each client makes more room for other connections of its source.
func (c *Conn) Prove(owner, client string) (release func()) {
	if c == nil {
		return func() {}
	}
	left := c.listener.prove(c.source, client)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proven++
	c.owner = owner
	if c.proven == 1 && !c.closed {
		c.disarm()
		c.listener.leave(c.source)
	}
	return func() { left(); c.unprove() }
}

func (c *Conn) unprove() {
	c.mu.Lock()
	c.proven--
	if c.proven > 0 || c.closed {
		c.mu.Unlock()
		return
	}
	c.done()
	c.read = 0
	admitted := c.listener.enter(c.source, false)
	if admitted {
		c.armLocked()
	} else {
		c.proven++ // not counted any more
	}
	c.mu.Unlock()
	if !admitted {
		_ = c.Close()
	}
}

// Blame says that somebody came without a valid credential. After a few the connection is closed.
func (c *Conn) Blame() {
	const few = 3
	if c == nil {
		return
	}
	c.mu.Lock()
	c.blamed++
	enough := c.blamed >= few
	c.mu.Unlock()
	if enough {
		_ = c.Close()
	}
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.disarm()
		c.done()
		if c.proven == 0 {
			c.listener.leave(c.source)
		}
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

func (c *Conn) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armLocked()
}

// armLocked starts the time that the connection has without a known client.
func (c *Conn) armLocked() {
	if life := c.listener.limits.Life; life > 0 {
		c.timer = time.AfterFunc(life, func() {
			c.mu.Lock()
			unknown := c.proven == 0
			c.mu.Unlock()
			if unknown {
				_ = c.Close()
			}
		})
	}
}

func (c *Conn) disarm() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}
