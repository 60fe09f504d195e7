"""Whether those who are asked have an account in the OA: else nobody there can decide."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from time import monotonic

from events import EmployeeId

from oa_connector.domain import Accounts, Snapshot, Status, SubmitOutcome, SubmitResult
from oa_connector.vendors import OAError
from oa_connector.vendors.turns import aside


class People:
    """Asks an OA who has an account there, and remembers for some minutes what is no no.

    `ask` says None where the OA cannot tell: what it does not say holds nobody up.
    """

    def __init__(
        self, accounts: Accounts, ask: Callable[[str], Awaitable[bool | None]], seconds: float
    ) -> None:
        self._accounts = accounts
        self._ask = ask
        self._seconds = seconds
        self._passed_until: dict[str, float] = {}

    async def checked(self, seen: Snapshot) -> Snapshot:
        """With those it asks now who cannot answer; where the OA does not say, as it was read."""
        if seen.status is not Status.PENDING:
            return seen
        try:
            return replace(seen, missing=await self._missing(seen.waiting))
        except OAError:
            return seen

    async def refusal(self, people: Iterable[EmployeeId]) -> SubmitResult | None:
        """Why nothing is sent that would ask these; None: it can be sent."""
        try:
            missing = await self._missing(people)
        except OAError as error:
            return SubmitResult(SubmitOutcome.RETRY_LATER, detail=error.told)
        if not missing:
            return None
        named = ", ".join(self._accounts.to_oa(one) for one in missing)
        return SubmitResult(SubmitOutcome.REJECTED, detail=f"no open account in the OA: {named}")

    async def _missing(self, people: Iterable[EmployeeId]) -> tuple[EmployeeId, ...]:
        """Those of them who have no account, or none that is open.

        Raises:
            OAError: the OA does not answer, or not in time.
        """
        with aside():
            return tuple([one for one in dict.fromkeys(people) if await self._is_missing(one)])

    async def _is_missing(self, person: EmployeeId) -> bool:
        account = self._accounts.to_oa(person)
        if self._passed_until.get(account, 0) > monotonic():
            return False
        is_known = await self._ask(account)
        if is_known is not False:
            self._passed_until[account] = monotonic() + self._seconds
        return is_known is False
