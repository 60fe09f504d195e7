"""The composition root: settings, one adapter per OA, the loops over them."""

from datetime import timedelta
from pathlib import Path

from chassis.service import Service
from fastapi import APIRouter

from oa_connector.api import REFUSALS, callbacks, console, router
from oa_connector.consumer import SUBSCRIPTIONS
from oa_connector.delivery import Delivery, Pace, Probe
from oa_connector.domain import Accounts, Patience
from oa_connector.settings import FlowableTenant, ProfileTenant, Settings
from oa_connector.vendors import ApprovalPort, InboundPort, http_profile
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.flowable import Flowable, FlowableAccess, FlowableCallbacks
from oa_connector.vendors.profile import ProfileError, read
from oa_connector.vendors.secrets import Secrets

MIGRATIONS = Path(__file__).parents[2] / "migrations"
PROFILES = Path(__file__).parent / "profiles"


def service() -> Service:
    """Raises: ProfileError, for an OA whose profile cannot be used."""
    settings = Settings.load()
    oas = {name: _oa(name, tenant, settings.claim_url) for name, tenant in settings.tenants.items()}
    delivery = Delivery(
        {name: oa for name, (oa, _) in oas.items()}, _patience(settings), _pace(settings)
    )
    inbound = {name: callbacks for name, (_, callbacks) in oas.items() if callbacks is not None}
    return Service(
        name="oa-connector",
        settings=settings,
        migrations=MIGRATIONS,
        routers=(router, _console(delivery)),
        public_routers=(callbacks(inbound),),
        refusals=REFUSALS,
        subscriptions=SUBSCRIPTIONS,
        loops=(delivery.deliver,),
    )


def checked(file: Path) -> str:
    """One line about a profile that is right.

    Raises:
        ProfileError: it is not; the message names each mistake.
    """
    content = read(file)
    if not isinstance(content, dict) or "wsdl" not in content:
        return f"{file}: a right http_profile, {http_profile.load_profile(file).name}"
    from oa_connector.vendors import soap_profile  # as below

    profile = soap_profile.load_profile(file)
    soap_profile.opened(profile)
    return f"{file}: a right soap_profile, {profile.name}"


def _console(delivery: Delivery) -> APIRouter:
    """By the adapters of this process, whether or not the loops run in it too."""
    return console(
        {name: delivery.reconciliation(name).cycle for name in delivery.oas},
        {name: Probe(name, oa, delivery.pace).once for name, oa in delivery.oas.items()},
    )


def _oa(
    name: str, tenant: FlowableTenant | ProfileTenant, claim_url: str
) -> tuple[ApprovalPort, InboundPort | None]:
    try:
        return _adapter(tenant, claim_url)
    except ProfileError as error:
        raise ProfileError(f"tenants.{name}.profile: {error}") from error


def _adapter(
    tenant: FlowableTenant | ProfileTenant, claim_url: str
) -> tuple[ApprovalPort, InboundPort | None]:
    """The OA, and who reads its callbacks; None: it sends none."""
    limits = Limits(
        calls_per_second=tenant.calls_per_second,
        burst=tenant.burst or max(1, int(tenant.calls_per_second)),
        failures=tenant.breaker_failures,
        rest=tenant.breaker_seconds,
    )
    accounts = Accounts(tenant.people)
    if isinstance(tenant, FlowableTenant):
        access = FlowableAccess(
            base_url=tenant.base_url,
            username=tenant.username,
            secrets=tenant.secret,
            processes=tenant.processes,
            deploy=tenant.deploy,
            claim_url=claim_url,
        )
        return Flowable(access, limits, accounts), FlowableCallbacks(tenant.secret)
    return _profiled(tenant, claim_url, (tenant.base_url, tenant.secret, limits, accounts))


def _profiled(
    tenant: ProfileTenant, claim_url: str, reached: tuple[str, Secrets, Limits, Accounts]
) -> tuple[ApprovalPort, InboundPort | None]:
    path = _file(tenant.profile)
    if tenant.kind == "http_profile":
        web = http_profile.load_profile(path).with_claim_url(claim_url)
        inbound = http_profile.callbacks(web, tenant.secret) if web.callback else None
        return http_profile.HttpProfile(web, *reached), inbound
    from oa_connector.vendors import soap_profile  # its library is large: not where none is asked

    soap = soap_profile.load_profile(path).with_claim_url(claim_url)
    inbound = soap_profile.callbacks(soap, tenant.secret) if soap.callback else None
    return soap_profile.SoapProfile(soap, *reached), inbound


def _file(given: Path) -> Path:
    """A bare name is one of ours, wherever we are started; with a folder, the file itself.

    Raises:
        ProfileError: there is none.
    """
    path = given if len(given.parts) > 1 else PROFILES / given
    if not path.is_file():
        ours = ", ".join(sorted(one.name for one in PROFILES.glob("*.yaml")))
        raise ProfileError(
            f"there is no file {given}; a bare name is one of: {ours};"
            " a file of your own is named with its folder"
        )
    return path


def _pace(settings: Settings) -> Pace:
    return Pace(
        poll=settings.poll_seconds,
        call=settings.call_seconds,
        lease=settings.lease_seconds,
        at_once=settings.calls_at_once,
        reconcile_every=settings.reconcile_seconds,
    )


def _patience(settings: Settings) -> Patience:
    return Patience(
        lookups=tuple(timedelta(seconds=wait) for wait in settings.lookup_seconds),
        attempts=settings.create_attempts,
        longest=timedelta(seconds=settings.longest_wait_seconds),
        poll_young=timedelta(seconds=settings.follow_young_seconds),
        poll_old=timedelta(seconds=settings.follow_old_seconds),
        watched=timedelta(days=settings.watch_days),
    )
