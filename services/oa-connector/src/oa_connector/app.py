"""The composition root: settings, one adapter per OA, the loops over them."""

from datetime import timedelta
from pathlib import Path

from chassis.service import Service

from oa_connector.api import REFUSALS, callbacks, router
from oa_connector.consumer import SUBSCRIPTIONS
from oa_connector.delivery import Delivery, Pace
from oa_connector.domain import Patience
from oa_connector.settings import FlowableTenant, Settings
from oa_connector.vendors.flowable import Flowable, FlowableAccess, FlowableCallbacks

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def service() -> Service:
    settings = Settings.load()
    delivery = Delivery(
        {name: Flowable(_access(tenant, settings)) for name, tenant in settings.tenants.items()},
        _patience(settings),
        Pace(
            poll=settings.poll_seconds,
            call=settings.call_seconds,
            lease=settings.lease_seconds,
            at_once=settings.calls_at_once,
        ),
    )
    inbound = {
        name: FlowableCallbacks(tenant.read_callback_secret)
        for name, tenant in settings.tenants.items()
    }
    return Service(
        name="oa-connector",
        settings=settings,
        migrations=MIGRATIONS,
        routers=(router,),
        public_routers=(callbacks(inbound),),
        refusals=REFUSALS,
        subscriptions=SUBSCRIPTIONS,
        loops=(delivery.deliver,),
    )


def _access(tenant: FlowableTenant, settings: Settings) -> FlowableAccess:
    return FlowableAccess(
        base_url=tenant.base_url,
        username=tenant.username,
        password=tenant.read_password,
        process_key=tenant.process_key,
        claim_url=settings.claim_url,
        calls_per_second=tenant.calls_per_second,
    )


def _patience(settings: Settings) -> Patience:
    return Patience(
        lookups=tuple(timedelta(seconds=wait) for wait in settings.lookup_seconds),
        attempts=settings.create_attempts,
        longest=timedelta(seconds=settings.longest_wait_seconds),
        poll_young=timedelta(seconds=settings.follow_young_seconds),
        poll_old=timedelta(seconds=settings.follow_old_seconds),
    )
