--
-- PostgreSQL database dump
--

SET client_encoding = 'UTF8';

COPY auth.schema_migrations (version) FROM stdin;
20171026211738
\.

COPY auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_user_meta_data, created_at, phone, banned_until, deleted_at) FROM stdin;
00000000-0000-0000-0000-000000000000	00000000-0000-4000-8000-000000000001	authenticated	authenticated	alice@example.com	$2a$04$vF2AS/d2V8wlNkYDjY6LtOrOc2NsD500FiMLDYiONxnIrX2Za.jqO	2024-05-06 07:08:10+00	{"full_name": "Alice Chen"}	2024-05-06 07:08:09.123456+00	4930123456	\N	\N
00000000-0000-0000-0000-000000000000	00000000-0000-4000-8000-000000000002	authenticated	authenticated	bob@example.com	$argon2i$v=19$m=4096,t=3,p=1$AAECAwQFBgcICQoLDA0ODw$LRyeWnLsuUdsmG0M06bUJlsG66qDMVWMmqve7Zu3WK4	\N	{}	2024-05-06 07:08:09.123456+00	\N	2999-01-01 00:00:00+00	\N
00000000-0000-0000-0000-000000000000	00000000-0000-4000-8000-000000000003	authenticated	authenticated	carol@example.com		\N	{"name": "Carol\\tChen"}	2024-05-06 07:08:09.123456+00	\N	\N	2025-01-01 00:00:00+00
00000000-0000-0000-0000-000000000000	00000000-0000-4000-8000-000000000004	authenticated	authenticated	dave@example.com	$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==	2024-05-06 07:08:10+00	{}	2024-05-06 07:08:09.123456+00	\N	\N	\N
\.
