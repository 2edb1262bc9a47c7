"""wstest as a client that can be pinged at any time. Takes wstest's arguments; for Python 2.7, as it is.

The library answers a ping at once, even where the case has sent half a frame and waits with the other half (6.4.3,
6.4.4): its pong would become that frame's payload. A right client holds its answer back, or its tongue.
"""

import sys

from autobahntestsuite import fuzzing, wstest


def answer(self, payload):
    if self.send_state != self.SEND_STATE_INSIDE_MESSAGE_FRAME:
        fuzzing.WebSocketClientProtocol.onPing(self, payload)


fuzzing.FuzzingClientProtocol.onPing = answer
sys.exit(wstest.run())
