package oa;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.flowable.idm.api.IdmIdentityService;
import org.flowable.idm.api.User;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.HttpStatus;
import org.springframework.security.authentication.AuthenticationProvider;
import org.springframework.security.authentication.BadCredentialsException;
import org.springframework.security.authentication.UsernamePasswordAuthenticationToken;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.config.annotation.web.configurers.AbstractHttpConfigurer;
import org.springframework.security.config.http.SessionCreationPolicy;
import org.springframework.security.core.Authentication;
import org.springframework.security.core.authority.SimpleGrantedAuthority;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.authentication.HttpStatusEntryPoint;
import org.springframework.security.web.servlet.util.matcher.PathPatternRequestMatcher;
import org.springframework.security.web.util.matcher.RequestMatcher;

/** Who may come in: basic auth against Flowable's own people. */
@Configuration
class Security {
    static final String ADMIN = "admin";

    private static final String CONTENT_POLICY =
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
                    + " base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    @Bean
    SecurityFilterChain chain(HttpSecurity http, IdmIdentityService people) throws Exception {
        // A bare 401: with a challenge the browser would ask by itself, keep the password, and send it
        // along from any other site. Without one there is nothing that a forged request could use.
        var unknown = new HttpStatusEntryPoint(HttpStatus.UNAUTHORIZED);
        return http.authenticationProvider(new Passwords(people))
                .httpBasic(basic -> basic.authenticationEntryPoint(unknown))
                .exceptionHandling(handling -> handling.authenticationEntryPoint(unknown))
                .csrf(AbstractHttpConfigurer::disable)
                .sessionManagement(s -> s.sessionCreationPolicy(SessionCreationPolicy.STATELESS))
                .headers(headers -> headers.contentSecurityPolicy(c -> c.policyDirectives(CONTENT_POLICY)))
                .authorizeHttpRequests(
                        requests ->
                                requests.requestMatchers(paths("/", "/index.html", "/oa.css", "/oa.js"))
                                        .permitAll()
                                        .requestMatchers(paths("/actuator/health", "/error"))
                                        .permitAll()
                                        // Its answers hold password hashes.
                                        .requestMatchers(paths("/process-api/identity/**", "/idm-api/**"))
                                        .hasRole(ADMIN)
                                        .anyRequest()
                                        .authenticated())
                .build();
    }

    private static RequestMatcher[] paths(String... patterns) {
        var matchers = PathPatternRequestMatcher.withDefaults();
        return List.of(patterns).stream().map(matchers::matcher).toArray(RequestMatcher[]::new);
    }

    /** Checks a password by bcrypt once, and later by a keyed digest of it: bcrypt costs 80 ms. */
    private static class Passwords implements AuthenticationProvider {
        private record Proof(String storedHash, byte[] digest) {}

        private final IdmIdentityService people;
        private final Map<String, Proof> proven = new ConcurrentHashMap<>();
        private final SecretKeySpec key;

        Passwords(IdmIdentityService people) {
            this.people = people;
            var random = new byte[32];
            new SecureRandom().nextBytes(random);
            this.key = new SecretKeySpec(random, "HmacSHA256");
        }

        @Override
        public Authentication authenticate(Authentication given) {
            var name = given.getName();
            var user = people.createUserQuery().userId(name).singleResult();
            if (user == null || !matches(user, String.valueOf(given.getCredentials()))) {
                throw new BadCredentialsException("no such person with this password");
            }
            var groups = people.createGroupQuery().groupMember(name).list().stream();
            var roles = groups.map(group -> new SimpleGrantedAuthority("ROLE_" + group.getId())).toList();
            return UsernamePasswordAuthenticationToken.authenticated(name, null, roles);
        }

        private boolean matches(User user, String password) {
            var digest = digest(password);
            var proof = proven.get(user.getId());
            if (proof != null && proof.storedHash.equals(user.getPassword())) {
                return MessageDigest.isEqual(proof.digest, digest)
                        || people.checkPassword(user.getId(), password);
            }
            var isRight = people.checkPassword(user.getId(), password);
            if (isRight) {
                proven.put(user.getId(), new Proof(user.getPassword(), digest));
            }
            return isRight;
        }

        private byte[] digest(String password) {
            try {
                var mac = Mac.getInstance(key.getAlgorithm());
                mac.init(key);
                return mac.doFinal(password.getBytes(StandardCharsets.UTF_8));
            } catch (GeneralSecurityException impossible) {
                throw new IllegalStateException(impossible);
            }
        }

        @Override
        public boolean supports(Class<?> kind) {
            return UsernamePasswordAuthenticationToken.class.isAssignableFrom(kind);
        }
    }
}
