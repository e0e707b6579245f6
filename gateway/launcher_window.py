"""The launcher's window: what to type into the machine, START and STOP, the log."""

import tkinter as tk
import webbrowser
from collections.abc import Callable
from tkinter import ttk

from gateway.launcher_process import MAX_LINES, Child, State, Status

POLL_MS = 250
TITLE = "Imaging order gateway"

_COLOURS = {
    State.STOPPED: "#6b7280",
    State.STARTING: "#b45309",
    State.RUNNING: "#15803d",
    State.STOPPING: "#b45309",
    State.FAILED: "#b91c1c",
}
_WORDS = {
    State.STOPPED: "Stopped",
    State.STARTING: "Starting…",
    State.RUNNING: "Running",
    State.STOPPING: "Stopping…",
    State.FAILED: "Failed",
}
_PAPER, _INK, _MUTED, _ACCENT = "#f6f7f9", "#111827", "#6b7280", "#1d4ed8"


class Window:
    """The window of one child. `facts` are names and values in the order they are shown."""

    def __init__(
        self,
        root: tk.Tk,
        child: Child,
        *,
        facts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...],
        dashboard: str,
        open_page: Callable[[str], object] = webbrowser.open,
    ) -> None:
        self._root = root
        self._child = child
        self._dashboard = dashboard
        self._open_page = open_page
        self._seen = 0
        self._is_closing = False
        self.state = tk.StringVar(root)
        self.reason = tk.StringVar(root)
        root.title(TITLE)
        root.configure(background=_PAPER)
        root.minsize(620, 480)
        root.protocol("WM_DELETE_WINDOW", self.close)
        _style(root)
        body = ttk.Frame(root, padding=18)
        body.pack(fill="both", expand=True)
        self._build_head(body)
        self._build_facts(body, facts)
        self._build_log(body)
        self._show(child.status)
        self._after = root.after(POLL_MS, self._tick)

    def start(self) -> None:
        """START was pressed."""
        self._child.start()
        self._show(self._child.status)

    def stop(self) -> None:
        """STOP was pressed."""
        self._child.stop()
        self._show(self._child.status)

    def close(self) -> None:
        """The window goes away as soon as the child has ended."""
        self._is_closing = True
        self.stop()

    def _build_head(self, body: ttk.Frame) -> None:
        head = ttk.Frame(body)
        head.pack(fill="x")
        words = ttk.Frame(head)
        words.pack(side="left", fill="x", expand=True)
        ttk.Label(words, text=TITLE, style="Title.TLabel").pack(anchor="w")
        line = ttk.Frame(words)
        line.pack(anchor="w", pady=(4, 0))
        self._lamp = tk.Canvas(line, width=14, height=14, background=_PAPER, highlightthickness=0)
        self._lamp.pack(side="left", padx=(0, 6))
        self._light = self._lamp.create_oval(2, 2, 13, 13, width=0)
        ttk.Label(line, textvariable=self.state, style="State.TLabel").pack(side="left")
        self.switch = ttk.Button(head, style="Switch.TButton", width=9)
        self.switch.pack(side="right")
        self.page = ttk.Button(head, text="Open dashboard", command=lambda: self._open_page(self._dashboard))
        self.page.pack(side="right", padx=10)
        self._why = ttk.Label(
            body, textvariable=self.reason, style="Why.TLabel", wraplength=600, justify="left"
        )

    def _build_facts(
        self, body: ttk.Frame, facts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    ) -> None:
        self._board = ttk.Frame(body)
        self._board.pack(fill="x", pady=(16, 12))
        for column, (heading, rows) in enumerate(facts):
            self._board.columnconfigure(column, weight=1, uniform="facts")
            card = ttk.Frame(self._board, style="Card.TFrame", padding=12)
            card.grid(row=0, column=column, sticky="nsew", padx=(0 if column == 0 else 10, 0))
            ttk.Label(card, text=heading, style="Heading.TLabel").pack(anchor="w", pady=(0, 6))
            for name, value in rows:
                _fact(card, name, value)

    def _build_log(self, body: ttk.Frame) -> None:
        ttk.Label(body, text="Log", style="Plain.TLabel").pack(anchor="w")
        frame = ttk.Frame(body)
        frame.pack(fill="both", expand=True, pady=(4, 0))
        bar = ttk.Scrollbar(frame)
        bar.pack(side="right", fill="y")
        self.log = tk.Text(
            frame, height=10, wrap="none", state="disabled", font="TkFixedFont", relief="flat", padx=8, pady=6,
            background="#ffffff", foreground=_INK, yscrollcommand=bar.set,
        )  # fmt: skip
        self.log.pack(side="left", fill="both", expand=True)
        bar.configure(command=self.log.yview)

    def _tick(self) -> None:
        self._show(self._child.poll())
        self._append()
        if self._is_closing and self._child.status.state in (State.STOPPED, State.FAILED):
            self._root.destroy()
            return
        self._after = self._root.after(POLL_MS, self._tick)

    def _show(self, status: Status) -> None:
        self.state.set(_WORDS[status.state])
        self.reason.set(status.reason)
        self._lamp.itemconfigure(self._light, fill=_COLOURS[status.state])
        if status.reason:
            self._why.pack(fill="x", pady=(10, 0), before=self._board)
        else:
            self._why.pack_forget()
        is_off = status.state in (State.STOPPED, State.FAILED)
        self.switch.configure(
            text="START" if is_off else "STOP",
            command=self.start if is_off else self.stop,
            state="disabled" if status.state is State.STOPPING else "normal",
        )
        self.page.configure(state="normal" if status.state is State.RUNNING else "disabled")

    def _append(self) -> None:
        self._seen, fresh = self._child.lines(self._seen)
        if not fresh:
            return
        is_at_end = self.log.yview()[1] >= 1.0
        self.log.configure(state="normal")
        self.log.insert("end", "".join(f"{line}\n" for line in fresh))
        surplus = int(self.log.index("end-1c").split(".")[0]) - 1 - MAX_LINES
        if surplus > 0:
            self.log.delete("1.0", f"{surplus + 1}.0")
        self.log.configure(state="disabled")
        if is_at_end:
            self.log.see("end")


def _fact(card: ttk.Frame, name: str, value: str) -> None:
    ttk.Label(card, text=name, style="Name.TLabel").pack(anchor="w")
    shown = tk.Entry(
        card, relief="flat", borderwidth=0, highlightthickness=0, font="TkFixedFont", width=max(14, len(value)),
        readonlybackground="#ffffff", foreground=_INK,
    )  # fmt: skip
    shown.insert(0, value)
    shown.configure(state="readonly")  # can be selected and copied
    shown.pack(anchor="w", fill="x", pady=(0, 6))


def _style(root: tk.Tk) -> None:
    style = ttk.Style(root)
    style.theme_use("clam")
    style.configure("TFrame", background=_PAPER)
    style.configure("Card.TFrame", background="#ffffff")
    style.configure("Title.TLabel", background=_PAPER, foreground=_INK, font=("TkDefaultFont", 17, "bold"))
    style.configure("State.TLabel", background=_PAPER, foreground=_INK, font=("TkDefaultFont", 12))
    style.configure("Why.TLabel", background="#fee2e2", foreground="#7f1d1d", padding=8)
    style.configure("Plain.TLabel", background=_PAPER, foreground=_MUTED)
    style.configure(
        "Heading.TLabel", background="#ffffff", foreground=_INK, font=("TkDefaultFont", 11, "bold")
    )
    style.configure("Name.TLabel", background="#ffffff", foreground=_MUTED)
    style.configure("TButton", padding=(12, 8), background="#ffffff", bordercolor="#d1d5db", relief="flat")
    style.map("TButton", background=[("active", "#eef2ff")], foreground=[("disabled", "#9ca3af")])
    style.configure(
        "Switch.TButton", font=("TkDefaultFont", 12, "bold"), background=_ACCENT, foreground="#ffffff",
        bordercolor=_ACCENT, lightcolor=_ACCENT, darkcolor=_ACCENT,
    )  # fmt: skip
    style.map("Switch.TButton", background=[("disabled", "#9ca3af"), ("active", "#1e40af")])
    style.configure(
        "TScrollbar", background="#e5e7eb", troughcolor="#ffffff", bordercolor="#e5e7eb", arrowsize=12
    )
