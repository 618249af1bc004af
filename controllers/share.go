package controllers

import (
	"net"
	"sync"
)

// sharedListener hands the connections of a listener to views of it. A server closes its view when it shuts down, and another one goes on
// accepting: at no moment is the port closed.
type sharedListener struct {
	net.Listener
	conns chan net.Conn
	ended chan struct{} // closed when nothing is accepted any more
	err   error         // why, once ended is closed
}

// share starts accepting from l until that is closed.
func share(l net.Listener) *sharedListener {
	s := &sharedListener{Listener: l, conns: make(chan net.Conn), ended: make(chan struct{})}
	go s.accept()
	return s
}

func (s *sharedListener) accept() {
	defer close(s.ended)
	for {
		c, err := s.Accept()
		if err != nil {
			s.err = err
			return
		}
		s.conns <- c
	}
}

// Close stops accepting; a connection that no view took is closed.
func (s *sharedListener) Close() error {
	err := s.Listener.Close()
	for {
		select {
		case c := <-s.conns:
			_ = c.Close()
		case <-s.ended:
			return err
		}
	}
}

// view returns a listener whose Close leaves the port open.
func (s *sharedListener) view() net.Listener {
	return &view{shared: s, closed: make(chan struct{})}
}

type view struct {
	shared *sharedListener
	once   sync.Once
	closed chan struct{}
}

// Accept returns the next connection, or an error once the view or the listener is closed.
func (v *view) Accept() (net.Conn, error) {
	select {
	case <-v.closed: // first, so that a closed view takes nothing
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-v.shared.conns:
		return c, nil
	case <-v.closed:
		return nil, net.ErrClosed
	case <-v.shared.ended:
		return nil, v.shared.err
	}
}

// Close ends Accept of this view.
func (v *view) Close() error {
	v.once.Do(func() { close(v.closed) })
	return nil
}

// Addr is the address of the port.
func (v *view) Addr() net.Addr { return v.shared.Addr() }
