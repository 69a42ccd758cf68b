"""Live sound over a web page: a WebSocket that codes a microphone's sound while it comes, and the page that uses it."""
