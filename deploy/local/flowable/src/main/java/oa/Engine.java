package oa;

import java.util.ArrayList;
import java.util.List;
import org.flowable.common.engine.api.delegate.event.FlowableEventListener;
import org.flowable.spring.SpringProcessEngineConfiguration;
import org.flowable.spring.boot.EngineConfigurationConfigurer;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

/** Hangs the guard, and the webhook when it has an address, into Flowable's engine. */
@Configuration
class Engine {
    @Bean
    EngineConfigurationConfigurer<SpringProcessEngineConfiguration> listeners(
            @Value("${OA_WEBHOOK_URL:}") String address, @Value("${OA_WEBHOOK_SECRET:}") String secret) {
        List<FlowableEventListener> listeners = new ArrayList<>();
        listeners.add(new Guard());
        if (!address.isEmpty()) {
            listeners.add(new Webhook(address, secret));
        }
        return engine -> engine.setEventListeners(listeners);
    }
}
