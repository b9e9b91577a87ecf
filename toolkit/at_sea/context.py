"""The context of a node at sea, for programs that ask about the water; they name it by this and know nothing of acoustics."""

from __future__ import annotations

from toolkit.acoustic.transport.service import MailContext as SailorContext

__all__ = ["SailorContext"]
