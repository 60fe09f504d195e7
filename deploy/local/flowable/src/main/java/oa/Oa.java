package oa;

import java.util.ArrayList;
import org.flowable.common.engine.api.delegate.event.AbstractFlowableEventListener;
import org.flowable.common.engine.api.delegate.event.FlowableEventListener;
import org.flowable.spring.SpringProcessEngineConfiguration;
import org.flowable.spring.boot.EngineConfigurationConfigurer;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;

/** The company's OA: Flowable's engine and REST, the people of a file, and one page. */
@SpringBootApplication
public class Oa {
    public static void main(String[] args) {
        SpringApplication.run(Oa.class, args);
    }

    @Bean
    EngineConfigurationConfigurer<SpringProcessEngineConfiguration> listeners(
            ObjectProvider<AbstractFlowableEventListener> ours) {
        return engine -> engine.setEventListeners(new ArrayList<FlowableEventListener>(ours.stream().toList()));
    }
}
